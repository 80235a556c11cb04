#!/usr/bin/env bash
# Runs one function under `cargo lambda watch`, on the stores of the local stack that `make deploy-local` filled, and
# builds it anew whenever its code changes.
#
#   infra/watch.sh [FUNCTION [OPTION-OF-CARGO-LAMBDA-WATCH...]]
#
# predict without an argument; ADDRESS (127.0.0.1) and PORT (9000) say where.
#
# In another shell:
#   .venv-stack/bin/cargo-lambda lambda invoke predict -A 127.0.0.1 -P 9000 --data-file events/...
set -euo pipefail
cd "$(dirname "$0")/.."

function=${1:-predict}
shift $(($# > 0))
address=${ADDRESS:-127.0.0.1} port=${PORT:-9000}
tests/clients/make-venv.sh .venv-stack tests/stack/requirements.txt
environment=$(tests/stack/env.sh) || { echo "first: make deploy-local" >&2; exit 1; }
eval "$environment"
PATH=$PWD/.venv-stack/bin:$PATH
export RUSTUP_DIST_SERVER=${RUSTUP_DIST_SERVER:-http://127.0.0.1:9}

# Built beforehand: an invocation does not wait for the whole of it.
cargo build --locked --package "$function" --bin "$function" --features lambda

# The function's own settings, the release among them, as the version has them that the alias points to.
variables=$(python - "sealcast-local-$function" <<'PYTHON'
import shlex
import sys
import boto3
found = boto3.client("lambda").get_function_configuration(FunctionName=sys.argv[1], Qualifier="live")
for name, value in found["Environment"]["Variables"].items():
    print(f"export {name}={shlex.quote(value)}")
PYTHON
)
eval "$variables"
echo "== http://$address:$port; events/ holds requests: cargo-lambda lambda invoke $function -A $address -P $port --data-file ..."
exec cargo-lambda lambda watch --locked --invoke-address "$address" --invoke-port "$port" \
    --package "$function" --bin "$function" --features lambda "$@"
