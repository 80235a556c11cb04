#!/bin/sh
# Asks the engine every model of the zoo and ONNX's own backend cases.
#
#   tests/zoo/run.sh [--write] [PYTEST-OPTION ...]
#
# --write puts the results into docs/models.md. The virtual environment .venv-zoo is made or refreshed when
# requirements.txt changes. ZOO_BIN names a built example; without it, it is built. PYTHON names the interpreter.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv="$root/.venv-zoo"
stamp="$venv/requirements.txt"

if ! cmp -s "$here/requirements.txt" "$stamp"; then
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$stamp"
fi

if [ -z "${ZOO_BIN:-}" ]; then
    (cd "$root" && cargo build --quiet --locked -p engine --example zoo)
    ZOO_BIN="${CARGO_TARGET_DIR:-$root/target}/debug/examples/zoo"
fi
export ZOO_BIN

exec "$venv/bin/python" -m pytest --quiet -p no:cacheprovider --rootdir "$here" "$here" "$@"
