#!/usr/bin/env bash
# Deploys the functions into the local AWS-shaped stack, and releases the example there.
#
#   infra/deploy-local.sh DIRECTORY-OF-THE-BINARIES [STAGE]
#
# The binaries are plain ones of this machine, not those of `make build`. The stack is the one that tests/stack/up.sh
# started, or the one beside which tests/stack/run.sh runs this. LATENCY_BUDGET_MS replaces the models' own budgets.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$1 stage=${2:-local}
if [ -z "${SEALCAST_TEST_MINISTACK:-}" ]; then
    environment=$(tests/stack/env.sh)
    eval "$environment"
fi
settings=.sealcast/stack-$stage.env
case $(uname -m) in
aarch64 | arm64) architecture=arm64 ;;
*) architecture=x86_64 ;;
esac

# The template says where the code is, from its own place: a copy of it finds these binaries.
place=target/deploy-$stage
for function in predict health audit-seal audit-query audit-watch; do
    mkdir -p "$place/target/lambda/$function"
    strip -o "$place/target/lambda/$function/bootstrap" "$bin/$function"
done
echo "$architecture" >"$place/target/lambda/architecture"
cp template.yaml "$place/template.yaml"

echo "== Deploying: the whole output is in $place/deploy.log"
export SAM_CLI_POLL_DELAY=1
TEMPLATE=$place/template.yaml infra/deploy.sh "$stage" "$bin/sealcast" \
    "JwtIssuer=$SEALCAST_TEST_ISSUER" "JwtAudience=sealcast" >"$place/deploy.log" 2>&1 ||
    { tail -n 50 "$place/deploy.log" >&2; exit 1; }
tail -n 1 "$place/deploy.log"

# The template's lock of the log is taken and not applied there; asked for directly, it is.
.venv-stack/bin/python - "$settings" <<'PYTHON'
import sys
import boto3
settings = dict(line.strip().split("=", 1) for line in open(sys.argv[1], encoding="utf-8") if "=" in line)
retention = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
boto3.client("s3").put_object_lock_configuration(
    Bucket=settings["SEALCAST_LOG_BUCKET"],
    ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": retention},
)
PYTHON

echo "== Sealing, pushing and releasing the example"
infra/release-example.sh "$bin/sealcast" "$settings" "${LATENCY_BUDGET_MS:-}"
cat <<EOT

Taken from the template but not done by this stack: point-in-time recovery, TTL and encryption of the tables, Object
Lock of the models and lifecycle of the buckets, alarms, throttling, Lambda's limits of size and memory (tests/stack/README.md).
EOT
