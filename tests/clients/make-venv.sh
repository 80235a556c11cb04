#!/usr/bin/env bash
# Makes or refreshes a virtual environment from a file of exact versions; does nothing where it is up to date.
#
#   make-venv.sh DIR REQUIREMENTS
set -euo pipefail
dir=$1 requirements=$2
stamp=$dir/requirements.sha256
sum=$(sha256sum <"$requirements")
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ] && exit 0
rm -rf "$dir"
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
"$dir/bin/pip" check --disable-pip-version-check >/dev/null
echo "$sum" >"$stamp"
