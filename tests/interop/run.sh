#!/bin/sh
# Holds what Rust seals and signs against other implementations, in a virtual environment of its own.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
venv="$here/../../.venv-interop"
stamp="$venv/requirements.txt"

if ! cmp -s "$here/requirements.txt" "$stamp"; then
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$stamp"
fi

exec "$venv/bin/python" -m pytest --quiet -p no:cacheprovider "$here" "$@"
