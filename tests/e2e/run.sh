#!/usr/bin/env bash
# Deploys the functions into a fresh AWS-shaped stack and asks them through API Gateway: the stack's own tests, ours,
# then those of tests/clients with tritonclient, KServe's and MLServer's clients.
#
#   tests/e2e/run.sh DIRECTORY-OF-THE-BINARIES [PYTEST-OPTION...]
#
# With pytest options only our own tests run.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
for client in triton kserve mlserver; do
    "$here/../clients/make-venv.sh" "$here/../../.venv-clients-$client" "$here/../clients/requirements-$client.txt"
done
exec "$here/../stack/run.sh" "$here/inside.sh" "$@"
