#!/usr/bin/env bash
# Which crate may depend on which: the rules of ARCHITECTURE.md, held against `cargo tree`.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
refuse() { echo "$1" | tr '\n' ' '; echo; failed=1; }

# A crate is named with its features: `health+lambda` is health with its feature lambda.
# Names of all crates that CRATE links, its own left out.
links() {
    local crate=${1%%+*} features=()
    [ "$crate" = "$1" ] || features=(--features "${1#*+}")
    cargo tree --locked -q -p "$crate" "${features[@]}" -e normal --prefix none | awk '{print $1}' | sort -u |
        grep -vx "$crate" || true
}

metadata=$(cargo metadata --locked --no-deps --format-version 1)
# Our crates; and what each of them names itself, for any purpose and under any feature. Crates below tests/ may look at
# a store or a host from outside.
ours=$(python3 -c 'import json,sys; print("\n".join(p["name"] for p in json.load(sys.stdin)["packages"]))' <<<"$metadata")
names=$(python3 -c 'import json,sys
for package in json.load(sys.stdin)["packages"]:
    if "/tests/" in package["manifest_path"]:
        continue
    for dependency in package["dependencies"]:
        print(package["name"], dependency["name"])' <<<"$metadata")

# may CRATE OURS…: of our own crates, CRATE links at most these.
may() {
    local crate=$1 found
    shift
    found=$(links "$crate" | grep -Fx "$ours" | grep -vxF "$(printf '%s\n' "$@")" || true)
    [ -z "$found" ] || refuse "$crate must not depend on: $found"
}
# never CRATE NAME…: CRATE links none of these, directly or not.
never() {
    local crate=$1 found
    shift
    found=$(links "$crate" | grep -xE "$(IFS='|'; echo "$*")" || true)
    [ -z "$found" ] || refuse "$crate must not link: $found"
}
# clients CRATE SERVICE…: of the AWS SDK, CRATE links the clients of exactly these services. That of STS, which gives
# credentials, comes with every one.
clients() {
    local crate=$1 found wanted
    shift
    found=$(links "$crate" | sed -n 's/^aws-sdk-//p' | grep -vx sts || true)
    wanted=$(printf '%s\n' "$@" | sort)
    [ "$found" = "$wanted" ] || refuse "$crate must link the clients of $wanted, and links those of: $found"
}
# only CRATE PATTERN: of our crates outside tests/, CRATE alone names a dependency like this.
only() {
    local crate=$1 found
    found=$(grep -E "^[^ ]+ $2\$" <<<"$names" | grep -v "^$crate " || true)
    [ -z "$found" ] || refuse "only $crate may name $2: $found"
}

may artifact ""
may audit ""
may engine artifact
may domain artifact audit
may web artifact audit domain
may store-aws artifact audit domain
may store-embedded artifact audit domain
may testkit artifact audit domain
may lambda-host artifact audit domain web
may predict artifact audit domain engine web
may health artifact audit domain web
may audit-query artifact audit domain web
may audit-seal artifact audit domain
may audit-watch artifact audit domain
may predict+lambda artifact audit domain engine web lambda-host store-aws
may health+lambda artifact audit domain web lambda-host store-aws
may audit-query+lambda artifact audit domain web lambda-host store-aws
may audit-seal+lambda artifact audit domain web lambda-host store-aws
may audit-watch+lambda artifact audit domain web lambda-host store-aws

for pure in artifact audit engine domain; do
    never "$pure" tokio axum hyper redb 'aws-.*' 'lambda[-_].*'
done
for lib in web predict health audit-query audit-seal audit-watch; do
    never "$lib" 'aws-.*' 'lambda[-_].*' redb
done
never store-aws axum 'lambda[-_].*' redb
never store-embedded axum hyper 'aws-.*' 'lambda[-_].*'
never lambda-host 'aws-.*' redb
never server 'aws-.*' 'lambda[-_].*'
never cli 'aws-.*' 'lambda[-_].*' axum
# Reading models is what makes a function large and slow to start: health has no need of it.
never health+lambda engine 'tract-.*' prost redb
never audit-query+lambda engine 'tract-.*' prost redb
never audit-seal+lambda engine 'tract-.*' prost redb
never audit-watch+lambda engine 'tract-.*' prost redb aws-sdk-s3
never predict+lambda redb

only store-aws 'aws-sdk-.*'
only lambda-host 'lambda[-_](http|runtime|extension)'
only store-embedded redb
only engine 'tract-.*'

clients predict+lambda dynamodb kms s3
clients health+lambda dynamodb kms lambda s3
clients audit-query+lambda dynamodb kms s3
clients audit-seal+lambda dynamodb kms s3
clients audit-watch+lambda dynamodb kms

[ "$failed" = 0 ] && echo "dependencies: every rule holds"
exit "$failed"
