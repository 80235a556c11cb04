#!/usr/bin/env bash
# Runs every fuzz target for SECONDS (default 60): fuzz/run.sh [SECONDS]
#
# cargo-fuzz is installed into .tools. Memory is capped at 1 GiB and one input at 10 s; a crash leaves its input in
# fuzz/artifacts and fails the run. The seeds are the committed examples.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}

[ -x .tools/bin/cargo-fuzz ] || cargo install --locked --root .tools cargo-fuzz@0.13.2
mkdir -p fuzz/corpus/{request,container,onnx,packed}
example=examples/spx-direction
cp -n "$example"/*.onnx shared/engine/tests/models/*.onnx functions/predict/tests/models/*.onnx fuzz/corpus/onnx/ || true
cargo run --quiet --release -p engine --example pack -- fuzz/corpus/packed fuzz/corpus/onnx/*.onnx
cp -n "$example"/manifest*.json fuzz/corpus/container/ || true
printf '\0\0\0' | cat - "$example/request-v2.json" >fuzz/corpus/request/oip
printf '\3\0\0' | cat - "$example/request-v1.json" >fuzz/corpus/request/v1

# libFuzzer needs the compiler's instrumentation, which the stable compiler has but hides.
export RUSTC_BOOTSTRAP=1
for target in request container onnx packed; do
    echo "== $target, $seconds s"
    .tools/bin/cargo-fuzz run "$target" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1
done
