#!/usr/bin/env bash
# The whole server under load, from the socket to the durable record, on the example's release.
#
#   tests/load/bench.sh
#
# The generator runs on the same cores as the server: figures are those of both together. After the load every record
# is verified, and a Python peer without any record (FastAPI, onnxruntime) answers the same load. Settings:
#   DURATION       seconds of the first run; the others take a third of it (60)
#   CONNECTIONS    keep-alive connections (64)
#   PROFILE        cargo profile of the binaries (local; release for the one that ships)
#   PEER           0 leaves the peer out
#   RESULTS        folder for what `load` reported, one JSON file a run (temporary without it)
#   BENCH_TMP      folder for the data directory: the disk that is measured (TMPDIR or /tmp)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"

export DURATION=${DURATION:-60} CONNECTIONS=${CONNECTIONS:-64}
profile=${PROFILE:-local}
cargo build --quiet --locked --profile "$profile" -p server -p cli -p load
bin=${CARGO_TARGET_DIR:-target}/$([ "$profile" = dev ] && echo debug || echo "$profile")
export LOAD_BIN=$bin/load

work=$(mktemp -d "${BENCH_TMP:-${TMPDIR:-/tmp}}/sealcast-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/data" "$work/bodies"
export RESULTS=${RESULTS:-$work/results} RECEIPTS=$work/receipts BODIES=$work/bodies
mkdir -p "$RESULTS"
rm -f "$RESULTS"/*.json
"${PYTHON:-python3}" "$here/make_bodies.py" examples/spx-direction "$BODIES"

"${PYTHON:-python3}" tests/clients/serve.py --server "$bin/server" --cli "$bin/sealcast" \
    --example examples/spx-direction --data "$work/data" -- "$here/measure.sh"

if [ "${PEER:-1}" != 0 ]; then
    "$here/peer/measure.sh"
fi
"${PYTHON:-python3}" "$here/print_table.py" "$RESULTS"
"${PYTHON:-python3}" "$here/check_records.py" "$bin/sealcast" "$work/data" "$RESULTS" "$RECEIPTS"
