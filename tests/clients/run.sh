#!/usr/bin/env bash
# Asks a real server with the clients that people use: tritonclient, KServe's SDK, MLServer, and plain HTTP.
#
#   tests/clients/run.sh [triton|kserve|mlserver ...] [-- PYTEST-OPTION ...]
#
# Each client has a virtual environment of its own, .venv-clients-NAME at the root: their pins contradict each other.
# They are made or refreshed when their requirements change. SERVER_BIN and CLI_BIN name binaries that exist;
# without them both are built (PROFILE, default dev). PYTHON names the interpreter (default python3).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"

clients=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    clients+=("$1")
    shift
done
[ "${1:-}" = -- ] && shift
[ ${#clients[@]} -eq 0 ] && clients=(triton kserve mlserver)

if [ -z "${SERVER_BIN:-}" ] || [ -z "${CLI_BIN:-}" ]; then
    profile=${PROFILE:-dev}
    cargo build --quiet --locked --profile "$profile" -p server -p cli
    target=${CARGO_TARGET_DIR:-target}/$([ "$profile" = dev ] && echo debug || echo "$profile")
    SERVER_BIN=${SERVER_BIN:-$target/server}
    CLI_BIN=${CLI_BIN:-$target/sealcast}
fi

failed=()
for client in "${clients[@]}"; do
    requirements=$here/requirements-$client.txt
    [ -f "$requirements" ] || { echo "run.sh: no such client: $client" >&2; exit 2; }
    "$here/make-venv.sh" ".venv-clients-$client" "$requirements"
    tests=("$here/test_$client.py")
    # Plain HTTP needs nothing but pytest, which every environment has.
    [ "$client" = triton ] && tests+=("$here/test_raw_http.py" "$here/test_raw_routes.py")
    echo "== $client"
    "${PYTHON:-python3}" "$here/serve.py" --server "$SERVER_BIN" --cli "$CLI_BIN" \
        --example "$root/examples/spx-direction" --latency-budget-ms 20000 -- \
        "$root/.venv-clients-$client/bin/python" -m pytest -q -p no:cacheprovider "$@" "${tests[@]}" ||
        failed+=("$client")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "run.sh: failed: ${failed[*]}" >&2
    exit 1
fi
