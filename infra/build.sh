#!/usr/bin/env bash
# Builds the Lambda functions: target/lambda/<function>/bootstrap, zipped beside it, each zip held to its limit.
#
#   infra/build.sh [FUNCTION...]      all of them without an argument
#
# ARCH is arm64 or x86_64. Without it: arm64 where Rust's target for it is installed, else x86_64. Each function is
# built by itself: one call for all would give every function the features that any of them asks for.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A limit_bytes=([predict]=12000000 [health]=6000000 [audit-seal]=6000000 [audit-query]=6000000 [audit-watch]=5000000)
functions=("$@")
[ ${#functions[@]} -gt 0 ] || functions=(predict health audit-seal audit-query audit-watch)

has_target() { [ -d "$(rustc --print target-libdir --target "$1")" ]; }
declare -A target=([arm64]=aarch64-unknown-linux-gnu [x86_64]=x86_64-unknown-linux-gnu)
arch=${ARCH:-}
if [ -z "$arch" ]; then
    arch=arm64
    if ! has_target "${target[arm64]}"; then
        arch=x86_64
        echo "Rust's target ${target[arm64]} is not installed: building for x86_64." \
            "For arm64, which costs less: rustup target add ${target[arm64]}"
    fi
fi
[ -n "${target[$arch]:-}" ] || { echo "ARCH is arm64 or x86_64, not $arch" >&2; exit 1; }
has_target "${target[$arch]}" || { echo "first: rustup target add ${target[$arch]}" >&2; exit 1; }

tests/clients/make-venv.sh .venv-stack tests/stack/requirements.txt
PATH=$PWD/.venv-stack/bin:$PATH
# All that is needed is installed: without this, cargo-lambda may wait for a server that is not to be reached.
export RUSTUP_DIST_SERVER=${RUSTUP_DIST_SERVER:-http://127.0.0.1:9}

for function in "${functions[@]}"; do
    [ -n "${limit_bytes[$function]:-}" ] || { echo "there is no function $function" >&2; exit 1; }
    cargo-lambda lambda build --release --locked --skip-target-check --target "${target[$arch]}" \
        --lambda-dir target/lambda --package "$function" --features lambda --bin "$function"
done
echo "$arch" >target/lambda/architecture

status=0
for function in "${functions[@]}"; do
    bytes=$(python3 - "target/lambda/$function" <<'PYTHON'
import sys, zipfile
from pathlib import Path
folder = Path(sys.argv[1])
packed = folder.with_suffix(".zip")
with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
    archive.write(folder / "bootstrap", "bootstrap")
print(packed.stat().st_size)
PYTHON
    )
    printf '%-11s %s  %4.1f MB unpacked, %4.1f MB zipped, %4.1f MB allowed\n' "$function" "$arch" \
        "$(($(stat --format %s "target/lambda/$function/bootstrap") / 100000))e-1" "$((bytes / 100000))e-1" \
        "$((limit_bytes[$function] / 100000))e-1"
    if [ "$bytes" -gt "${limit_bytes[$function]}" ]; then
        echo "$function: $bytes bytes zipped, more than the ${limit_bytes[$function]} that are allowed" >&2
        status=1
    fi
done
exit $status
