#!/bin/sh
# Makes the zoo's models and their references again: tests/zoo/export.sh [GROUP or NAME ...].
#
# Groups: sklearn, boosting, catboost, torch, handmade. Needs about 7 GB: on Linux, PyTorch brings CUDA's libraries
# with it. Nothing that `make test` does needs this. PYTHON names the interpreter (default python3).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
venv="$here/../../.venv-zoo-export"
stamp="$venv/requirements.txt"

if ! cmp -s "$here/requirements-export.txt" "$stamp"; then
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements-export.txt"
    cp "$here/requirements-export.txt" "$stamp"
fi

# One thread: sums are taken in one order. The exporters walk sets of names.
cd "$here"
export OMP_NUM_THREADS=1 PYTHONHASHSEED=0
exec "$venv/bin/python" -m export "$@"
