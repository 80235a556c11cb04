#!/usr/bin/env bash
# The predict function beside a Python function that does the same work, and beside an empty one: how each starts, what
# an invocation costs once it is warm, and how much memory it takes. Local AWS-shaped stack, no network; release builds.
#
#   benches/lambda.sh
#
# RUNS is how often each is started (20), WARM how many events each start answers after its first (2000).
set -euo pipefail
cd "$(dirname "$0")/.."

case $(uname -m) in aarch64 | arm64) ARCH=arm64 ;; *) ARCH=x86_64 ;; esac
export ARCH
infra/build.sh
cargo build --quiet --locked --profile local -p lambda-tests --bins
# What only prepares, as the tests build it.
cargo build --quiet --locked --workspace --all-features --bins
tests/clients/make-venv.sh .venv-peer-lambda benches/peer/requirements.txt
exec tests/stack/run.sh benches/lambda-inside.sh
