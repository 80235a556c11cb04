#!/usr/bin/env bash
# Asks the functions in the local stack for a prediction, signed and with a token, verifies the record of one, and proves
# that it is in the sealed log.
#
#   infra/try-local.sh SEALCAST [STAGE]
set -euo pipefail
cd "$(dirname "$0")/.."

sealcast=$1 stage=${2:-local}
environment=$(tests/stack/env.sh)
eval "$environment"
export SEALCAST_STACK=.sealcast/stack-$stage.env
unset SEALCAST_DATA
url=$(cat ".sealcast/stack-$stage.url")
body=examples/spx-direction/request-v1.json
ask() { curl --silent --show-error --fail-with-body -H 'Content-Type: application/json' -d "@$body" "$@"; }

echo "== A prediction, signed with SigV4"
answer=$(ask --aws-sigv4 "aws:amz:$AWS_REGION:execute-api" --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
    "$url/v1/predict")
echo "$answer"

echo "== The same with a token of the local issuer"
token=$(curl --silent --fail -d '{"sub": "alice", "roles": ["predictor"]}' "$SEALCAST_TEST_ISSUER/token" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')
ask -H "Authorization: Bearer $token" "$url/jwt/v1/predict"

echo
echo "== The first one's record, read from the audit table and verified"
receipt=$(python3 -c 'import json, sys
receipt = json.load(sys.stdin)["receipt"]
print("{stream}:{seq}:{leaf_hash}".format(**receipt))' <<<"$answer")
"$sealcast" audit verify --stream "${receipt%%:*}" --receipt "$receipt"

echo
echo "== Sealed, as the schedule does every minute, and proved from the log's bucket"
.venv-stack/bin/python - "sealcast-$stage-audit-seal" <<'PYTHON'
import sys
import boto3
run = boto3.client("lambda").invoke(FunctionName=sys.argv[1], Payload=b"{}")
print(run["Payload"].read().decode())
PYTHON
"$sealcast" audit prove "$receipt" --out "$(mktemp -d)" --wait 90
cat <<EOT

The API is at $url (log: .sealcast/stack/local/ministack.log). Point a shell at the stack and ask again:

  eval "\$(tests/stack/env.sh)"; export SEALCAST_STACK=$SEALCAST_STACK
  curl --aws-sigv4 aws:amz:\$AWS_REGION:execute-api --user \$AWS_ACCESS_KEY_ID:\$AWS_SECRET_ACCESS_KEY \\
    -H 'Content-Type: application/json' -d @$body '$url/v1/predict'

The API's own URL has a \`\$default\` in it, which older releases of curl sign unescaped; keys other than test's then need
\`sealcast predict --sigv4\` or a newer curl. make stop-local ends it.
EOT
