#!/usr/bin/env bash
# Stops the stack that up.sh started.
set -euo pipefail
exec python3 "$(dirname "$0")/stack.py" down
