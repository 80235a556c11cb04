#!/usr/bin/env bash
# What lambda.sh runs beside the stack: deploys the release build, releases the example, measures.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
for function in predict health; do ln -s "$PWD/target/lambda/$function/bootstrap" "$bin/$function"; done
ln -s "$PWD/target/debug/sealcast" "$bin/sealcast"
infra/deploy-local.sh "$bin" bench >&2

set -a
# shellcheck source=/dev/null
. .sealcast/stack-bench.env
SEALCAST_RELEASE=r-000001 SEALCAST_IAM_ROLES='{"*": ["predictor"]}' SEALCAST_JWT_ROLES_CLAIM=roles SEALCAST_LOG=info
PYTHONPATH=benches/peer:tests/interop
set +a
variables=()
for name in $(compgen -e | grep -E '^(AWS|SEALCAST)_' | grep -vE '^SEALCAST_(TEST|STACK|DATA_DIR)') PYTHONPATH; do
    variables+=(--env "$name")
done

measure() { # NAME RUNS WARM OPTION… -- COMMAND…
    local name=$1 runs=$2 warm=$3
    shift 3
    local measured
    measured=$(target/local/runtime-api --event events/predict/v1-iam.json --runs "$runs" --warm "$warm" \
        "${variables[@]}" "$@")
    if grep '"status"' <<<"$measured" | grep -v '"status":200'; then
        echo "$name did not answer 200" >&2
        return 1
    fi
    printf '{"name": "%s", ' "$name"
    tail -n 1 <<<"$measured" | cut -c 2-
}
runs=${RUNS:-20} warm=${WARM:-2000}
python=.venv-peer-lambda/bin/python
results=$(mktemp)
{
    measure "empty" "$runs" "$warm" -- target/local/empty
    measure "predict" "$runs" "$warm" -- target/lambda/predict/bootstrap
    measure "peer" "$runs" "$warm" -- "$python" -m awslambdaric app.handler
    measure "predict, writes answered at once" "$runs" "$warm" --instant-dynamodb "$AWS_ENDPOINT_URL" \
        -- target/lambda/predict/bootstrap
    measure "peer, writes answered at once" "$runs" "$warm" --instant-dynamodb "$AWS_ENDPOINT_URL" \
        -- "$python" -m awslambdaric app.handler
} | tee "$results" >&2
python3 - "$results" <<'PYTHON'
import json, sys
print("| Function | to the first `/next` | to the first answer | warm p50 | warm p99 | memory |")
print("|---|---|---|---|---|---|")
for line in open(sys.argv[1], encoding="utf-8"):
    run = json.loads(line)
    m = run["median"]
    print(f"| {run['name']} | {m['first_next_ms']:.1f} ms | {m['first_answer_ms']:.1f} ms "
          f"| {m['warm_p50_us'] / 1000:.2f} ms | {m['warm_p99_us'] / 1000:.2f} ms | {m['memory_kib'] / 1024:.0f} MiB |")
PYTHON
rm -f "$results"
