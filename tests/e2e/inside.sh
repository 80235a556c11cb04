#!/usr/bin/env bash
# What run.sh runs beside the stack: deploys, then tests.
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=$(cd "$1" && pwd)
shift
stage=e2e
# The binaries are built without optimisation: the models get the time that they need.
LATENCY_BUDGET_MS=20000 infra/deploy-local.sh "$bin" "$stage"

export SEALCAST_E2E_STAGE=$stage SEALCAST_E2E_CLI=$bin/sealcast
failed=()
[ $# -gt 0 ] || .venv-stack/bin/python -m pytest -q -p no:cacheprovider tests/stack || failed+=(stack)
.venv-stack/bin/python -m pytest -q -p no:cacheprovider "$@" tests/e2e || failed+=(e2e)

if [ $# -eq 0 ]; then
    data=$(mktemp -d)
    trap 'rm -rf "$data"' EXIT
    .venv-stack/bin/python tests/e2e/tokens.py example-client predictor >"$data/predictor.token"
    url=$(cat ".sealcast/stack-$stage.url")
    path=/${url#http://*/}
    export SEALCAST_ADDR=${SEALCAST_TEST_MINISTACK#http://} SEALCAST_DATA=$data SEALCAST_EXAMPLE=$PWD/examples/spx-direction
    export SEALCAST_BASE=$path/jwt SEALCAST_OPEN_BASE=$path
    for client in triton kserve mlserver; do
        tests=("tests/clients/test_$client.py")
        [ "$client" = triton ] && tests+=(tests/clients/test_raw_http.py tests/clients/test_raw_routes.py)
        echo "== $client, through API Gateway"
        ".venv-clients-$client/bin/python" -m pytest -q -rs -p no:cacheprovider "${tests[@]}" || failed+=("$client")
    done
fi
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
