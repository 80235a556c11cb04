#!/usr/bin/env bash
# The same load on the Python peer; bench.sh sets the environment.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
cd "$root"

venv=$root/.venv-peer
tests/clients/make-venv.sh "$venv" "$here/requirements.txt"
third=$((DURATION / 3 > 0 ? DURATION / 3 : 1))
port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

export SEALCAST_EXAMPLE=$root/examples/spx-direction
log=$(mktemp)
# One process a core, as its documentation advises.
"$venv/bin/uvicorn" --app-dir "$here" app:app --host 127.0.0.1 --port "$port" --workers "$(nproc)" \
    --no-access-log --log-level warning >"$log" 2>&1 &
peer=$!
trap 'kill -TERM "$peer" 2>/dev/null || true; wait "$peer" 2>/dev/null || true; rm -f "$log"' EXIT

ready=
for _ in $(seq 300); do
    kill -0 "$peer" 2>/dev/null || break
    if "$LOAD_BIN" --addr "127.0.0.1:$port" --body "$BODIES/v1.json" --requests 1 --connections 1 >/dev/null 2>&1; then
        ready=1
        break
    fi
    sleep 0.1
done
if [ -z "$ready" ]; then
    echo "the peer did not start:" >&2
    cat "$log" >&2
    exit 1
fi

measure() { # NAME CONNECTIONS
    echo "measuring: $1, $third s" >&2
    "$LOAD_BIN" --addr "127.0.0.1:$port" --server-pid "$peer" --warmup-s 2 --duration-s "$third" --connections "$2" \
        --body "$BODIES/v1.json" --json >"$RESULTS/$1.json"
}
measure "8 peer: FastAPI, no record" "$CONNECTIONS"
measure "9 peer, 1 connection" 1
