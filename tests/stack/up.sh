#!/usr/bin/env bash
# Starts a local AWS-shaped stack that stays up until down.sh; `eval "$(tests/stack/env.sh)"` points a shell at it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/install.sh"
exec "$here/../../.venv-stack/bin/python" "$here/stack.py" up
