#!/usr/bin/env bash
# Installs what the local stack consists of into this folder's .venv-stack and .tools: does nothing where it is there.
# DynamoDB Local's licence forbids to pass it on, so it is fetched from npm, and its archive is held to its digest.
set -euo pipefail
cd "$(dirname "$0")/../.."

package=amplify-dynamodb-simulator@2.9.30
digest=c5379e44bbf311fab2779961ddb1f8734907bd21c79a6843e590ec1c5280439836665e89aa515dbad6908422c7cf1129e91cb5a3b4c1ea7888a17b9002749ec1

tests/clients/make-venv.sh .venv-stack tests/stack/requirements.txt

for tool in npm java; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: DynamoDB Local comes from npm and runs on Java" >&2; exit 1; }
done
java --list-modules | grep -q '^jdk\.compiler@' ||
    { echo "java is a runtime only: tests/stack/DynamoDbLocal.java needs a JDK (11 or newer)" >&2; exit 1; }
tables=.tools/dynamodb-local
if [ ! -f "$tables/$digest" ]; then
    fetched=$(mktemp -d)
    trap 'rm -rf "$fetched"' EXIT
    (cd "$fetched" && npm pack --silent "$package" >/dev/null)
    archive=$(echo "$fetched"/*.tgz)
    [ "$(sha512sum "$archive" | cut -d' ' -f1)" = "$digest" ] ||
        { echo "$package is not the archive that was looked at: its SHA-512 differs" >&2; exit 1; }
    rm -rf "$tables" && mkdir -p "$tables"
    tar -xzf "$archive" -C "$tables" --strip-components=2 package/emulator
    touch "$tables/$digest"
fi
