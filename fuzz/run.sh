#!/usr/bin/env bash
# Runs the fuzz targets, all where none is named, for SECONDS each (default 60): fuzz/run.sh [SECONDS] [TARGET ...]
#
# cargo-fuzz is installed into .tools. Memory is capped at 512 MiB, the address sanitizer's shadow included, and one input
# at 10 s; a crash leaves its input in fuzz/artifacts and fails the run. The seeds are the committed examples and models.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(request container onnx packed)

[ -x .tools/bin/cargo-fuzz ] || cargo install --locked --root .tools cargo-fuzz@0.13.2
mkdir -p fuzz/corpus/{request,container,onnx,packed}
example=examples/spx-direction
find tests/zoo/models -name '*.onnx' -size -17k -exec cp -n {} fuzz/corpus/onnx/ \;
cp -n "$example"/*.onnx shared/engine/tests/models/*.onnx functions/predict/tests/models/*.onnx fuzz/corpus/onnx/ || true
if [[ " ${targets[*]} " == *" packed "* ]]; then
    cargo run --quiet --release -p engine --example pack -- fuzz/corpus/packed fuzz/corpus/onnx/*.onnx
fi
cp -n "$example"/manifest*.json fuzz/corpus/container/ || true
printf '\0\0\0' | cat - "$example/request-v2.json" >fuzz/corpus/request/oip
printf '\3\0\0' | cat - "$example/request-v1.json" >fuzz/corpus/request/v1

# libFuzzer needs the compiler's instrumentation, which the stable compiler has but hides.
export RUSTC_BOOTSTRAP=1
# What has been freed is kept from reuse for a while, to find uses of it; not so much of it that it counts.
export ASAN_OPTIONS="quarantine_size_mb=16:${ASAN_OPTIONS:-}"
limits=(-timeout=10 -report_slow_units=1 -rss_limit_mb=512 -print_final_stats=1)
# A model loads on a thread of its own; one that is just ending would count as a leak.
limits+=(-detect_leaks=0)
for target in "${targets[@]}"; do
    echo "== $target, $seconds s"
    .tools/bin/cargo-fuzz run "$target" -- -max_total_time="$seconds" "${limits[@]}"
done
