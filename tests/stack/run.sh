#!/usr/bin/env bash
# Runs a command beside a local AWS-shaped stack of its own, on free ports of 127.0.0.1, and stops the stack again.
# The command finds SEALCAST_TEST_MINISTACK, _DYNAMODB_LOCAL, _KMS, _ISSUER and the AWS_* variables in its environment.
#
#   tests/stack/run.sh COMMAND...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/install.sh"
exec "$here/../../.venv-stack/bin/python" "$here/stack.py" run "$@"
