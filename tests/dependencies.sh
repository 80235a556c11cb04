#!/usr/bin/env bash
# Which crate may depend on which: the rules of ARCHITECTURE.md, held against `cargo tree`.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
# Names of all crates that CRATE links, its own left out.
links() { cargo tree --locked -q -p "$1" -e normal --prefix none | awk '{print $1}' | sort -u | grep -vx "$1" || true; }

# may CRATE OURS…: of our own crates, CRATE links at most these.
ours=$(cargo metadata --locked --no-deps --format-version 1 |
    python3 -c 'import json,sys; print("\n".join(p["name"] for p in json.load(sys.stdin)["packages"]))')
may() {
    local crate=$1 found
    shift
    found=$(links "$crate" | grep -Fx "$ours" | grep -vxF "$(printf '%s\n' "$@")" || true)
    [ -z "$found" ] || { echo "$crate must not depend on: $found" | tr '\n' ' '; echo; failed=1; }
}
# never CRATE NAME…: CRATE links none of these, directly or not.
never() {
    local crate=$1 found
    shift
    found=$(links "$crate" | grep -xE "$(IFS='|'; echo "$*")" || true)
    [ -z "$found" ] || { echo "$crate must not link: $found" | tr '\n' ' '; echo; failed=1; }
}

may artifact ""
may audit ""
may engine artifact
may domain artifact audit
may web artifact audit domain
may store-embedded artifact audit domain
may testkit artifact audit domain
may predict artifact audit domain engine web
for pure in artifact audit engine domain; do never "$pure" tokio axum hyper redb 'aws-.*'; done
for lib in web predict; do never "$lib" 'aws-.*' lambda_http lambda_runtime redb; done
never server 'aws-.*'
never cli 'aws-.*' axum

[ "$failed" = 0 ] && echo "dependencies: every rule holds"
exit "$failed"
