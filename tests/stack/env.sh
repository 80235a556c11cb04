#!/usr/bin/env bash
# Prints the exports that point a shell at the stack that up.sh started: eval "$(tests/stack/env.sh)"
set -euo pipefail
exec python3 "$(dirname "$0")/stack.py" env
