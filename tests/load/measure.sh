#!/usr/bin/env bash
# The runs against the server; bench.sh starts it beside one, with the settings in the environment.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

third=$((DURATION / 3 > 0 ? DURATION / 3 : 1))
infer=/v2/models/spx-direction/infer

measure() { # NAME SECONDS CONNECTIONS BODY OPTION...
    local name=$1 seconds=$2 connections=$3 body=$4
    shift 4
    echo "measuring: $name, $seconds s" >&2
    "$LOAD_BIN" --addr "$SEALCAST_ADDR" --token-file "$SEALCAST_TOKEN_FILE" --server-pid "$SEALCAST_SERVER_PID" \
        --warmup-s 2 --duration-s "$seconds" --connections "$connections" --body "$BODIES/$body" --json "$@" \
        >"$RESULTS/$name.json"
}

measure "1 v1 row" "$DURATION" "$CONNECTIONS" v1.json
measure "2 v1 row, 1 connection" "$third" 1 v1.json
measure "3 v1 row, own ids" "$third" "$CONNECTIONS" v1.json --ids
measure "4 v2 row, JSON" "$third" "$CONNECTIONS" v2.json --path "$infer"
measure "5 v2 row, binary" "$third" "$CONNECTIONS" v2.json --path "$infer" --binary
measure "6 v1 batch of 100 rows" "$third" "$CONNECTIONS" batch.json --path /v1/predict/batch
# Few enough that each receipt can be held against its record.
measure "7 v1 row, receipts kept" 3 "$CONNECTIONS" v1.json --receipts "$RECEIPTS"
