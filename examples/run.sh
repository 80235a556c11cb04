#!/usr/bin/env bash
# Serves the example's release, makes a first prediction, verifies its record and proves it in the sealed log.
#
#   examples/run.sh DIRECTORY-OF-THE-BINARIES
#
# SEALCAST_ADDR (127.0.0.1:8080) and SEALCAST_DATA (.sealcast) say where, SEALCAST_SEAL_INTERVAL (2) how many seconds
# pass between two checkpoints of the log. What a first run created, a second one keeps. The server goes on when the
# terminal is closed; SIGTERM or Ctrl-C stops it.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$1
example=examples/spx-direction
export SEALCAST_ADDR=${SEALCAST_ADDR:-127.0.0.1:8080} SEALCAST_DATA=${SEALCAST_DATA:-.sealcast}
export SEALCAST_SEAL_INTERVAL=${SEALCAST_SEAL_INTERVAL:-2}
data=$SEALCAST_DATA
url=http://$SEALCAST_ADDR
sealcast() { "$bin/sealcast" "$@"; }

ready() { # whether GET /v2/health/ready is 200, with the shell's own means
    local status=
    { exec 3<>"/dev/tcp/${SEALCAST_ADDR%:*}/${SEALCAST_ADDR##*:}"; } 2>/dev/null || return 1
    printf 'GET /v2/health/ready HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$SEALCAST_ADDR" >&3
    read -r _ status _ <&3 || true
    exec 3<&-
    [ "$status" = 200 ]
}
if ready; then
    echo "$SEALCAST_ADDR is in use: a server answers there already. To stop one that an earlier run started:" >&2
    echo "  kill \$(cat $data/server.pid)" >&2
    exit 1
fi

# 1. Keys, a token, two sealed models and a release: once, and each step only where it is still missing.
umask 077
mkdir -p "$data"
[ -d "$data/keys" ] || sealcast keygen --data "$data"
[ -s "$data/predictor.token" ] ||
    sealcast token create --data "$data" --principal example-desk --role predictor --out "$data/predictor.token"
[ -s "$data/auditor.token" ] ||
    sealcast token create --data "$data" --principal example-auditor --role auditor --out "$data/auditor.token"
for model in spx-direction spx-direction-mlp; do
    [ ! -d "$data/artifacts/$model/1.0.0" ] || continue
    manifest=manifest${model#spx-direction}.json
    rm -rf "$data/sealed-$model"
    sealcast seal "$example/$model.onnx" --manifest "$example/$manifest" --data "$data" --out "$data/sealed-$model"
    sealcast push "$data/sealed-$model" --data "$data"
    rm -rf "$data/sealed-$model"
done
[ -e "$data/releases/r-000001.json" ] ||
    sealcast release create --data "$data" --live spx-direction@1.0.0 \
        --fallback spx-direction-mlp@1.0.0=spx-direction --created-by example-desk
[ -e "$data/aliases/live.json" ] || sealcast release activate r-000001 --data "$data" --activated-by example-desk

# 2. The server, in a session of its own, so that a closed terminal does not take it along.
setsid "$bin/server" </dev/null >>"$data/server.log" 2>&1 &
server=$!
echo "$server" >"$data/server.pid"
trap 'kill -TERM "$server" 2>/dev/null; wait "$server" || true; exit 0' TERM INT
trap 'exit 0' HUP
for attempt in $(seq 100); do
    if ! kill -0 "$server" 2>/dev/null; then
        echo "the server did not start; the end of $data/server.log:" >&2
        tail -n 5 "$data/server.log" >&2
        exit 1
    fi
    ! ready || break
    if [ "$attempt" = 100 ]; then
        echo "the server is not ready after 20 s, and is stopped: see $data/server.log" >&2
        kill -TERM "$server"
        exit 1
    fi
    sleep 0.2
done

# 3. A first prediction, its record, and its place in the sealed log.
echo
echo "== A prediction: the S&P 500, from the last day of $example/features.csv"
answer=$(sealcast predict --addr "$url" --token-file "$data/predictor.token" --body "$example/request-v1.json")
echo "$answer"
receipt=$(grep -oE '[0-9a-f]{32}:[0-9]+:[0-9a-f]{64}' <<<"$answer")
echo
echo "== Its record, verified offline with nothing but the stream's file and a public key"
sealcast audit verify "$data/audit/${receipt%%:*}.jsonl" --key "$data/keys/stream-registration.pub.pem" \
    --receipt "$receipt"
echo
echo "== The same event in the sealed log: proven over the API, and verified with two files and the log's key"
[ -s "$data/log.vkey" ] || sealcast key show log --data "$data" >"$data/log.vkey"
sealcast audit prove "$receipt" --server "$url" --token-file "$data/auditor.token" --key "$data/log.vkey" \
    --out "$data/proofs" --name "${receipt:0:8}" --wait 60
echo
sealcast audit verify "$data/proofs/${receipt:0:8}.json" --proof "$data/proofs/${receipt:0:8}.tlog-proof" \
    --key "$data/log.vkey"
cat <<EOF

Serving at $url (pid $server, data in $data, log in $data/server.log). Tokens are in $data/predictor.token
and, for questions to the audit log, $data/auditor.token.
Try it:

  curl -s $url/v1/predict -H "Authorization: Bearer \$(cat $data/predictor.token)" \\
    -H 'Content-Type: application/json' -d @$example/request-v1.json
  $bin/sealcast audit query --server $url --token-file $data/auditor.token

Ctrl-C stops the server; so does: kill \$(cat $data/server.pid)
EOF
wait "$server"
