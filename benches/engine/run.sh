#!/usr/bin/env bash
# The engine against onnxruntime and the libraries that trained the models: benches/engine/run.sh [OPTION or MODEL ...]
#
# The options are bench.py's. Models, results.json and what engines compile are kept in benches/engine/work, the Python
# packages in .venv-bench-engine. ENGINE_BIN names a built program; without it, the release profile is built.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=.venv-bench-engine work=benches/engine/work
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} PYTHONHASHSEED=0 OMP_NUM_THREADS=1

tests/clients/make-venv.sh "$venv" benches/engine/requirements.txt
"$venv/bin/python" benches/engine/models.py "$work"
if [ -z "${ENGINE_BIN:-}" ]; then
    cargo build --quiet --locked --release -p engine --example contender
    export ENGINE_BIN=$CARGO_TARGET_DIR/release/examples/contender
fi
cargo build --quiet --locked --release --manifest-path benches/engine/Cargo.toml
export ONNXRUNTIME_BIN=$CARGO_TARGET_DIR/release/onnxruntime
ORT_DYLIB_PATH=$(find "$PWD/$venv/lib" -name 'libonnxruntime.so.*' | head -n 1)
export ORT_DYLIB_PATH
exec "$venv/bin/python" benches/engine/bench.py "$work" "$@"
