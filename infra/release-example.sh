#!/usr/bin/env bash
# Seals the example's two models with a stack's keys, pushes them, and activates a release of them.
#
#   infra/release-example.sh SEALCAST SETTINGS-OF-THE-STACK [LATENCY-BUDGET-MS]
#
# Both models keep their own latency budget without the last argument: it is meant for binaries without optimisation.
# What a stack has already, it keeps: the release that is live is activated again, for code that was deployed since then
# serves only after it.
set -euo pipefail
cd "$(dirname "$0")/.."

sealcast=$1 budget_ms=${3:-}
export SEALCAST_STACK=$2
unset SEALCAST_DATA
example=examples/spx-direction
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! "$sealcast" release show r-000001 >/dev/null 2>&1; then
    for model in spx-direction spx-direction-mlp; do
        manifest=$work/$model.json
        python3 - "$example/manifest${model#spx-direction}.json" "$budget_ms" >"$manifest" <<'PYTHON'
import json, sys
manifest = json.load(open(sys.argv[1], encoding="utf-8"))
if sys.argv[2]:
    manifest["latency_budget_ms"] = int(sys.argv[2])
json.dump(manifest, sys.stdout)
PYTHON
        "$sealcast" seal "$example/$model.onnx" --manifest "$manifest" --out "$work/$model"
        "$sealcast" push "$work/$model"
    done
    "$sealcast" release create --live spx-direction@1.0.0 --fallback spx-direction-mlp@1.0.0=spx-direction \
        --created-by example-releaser
fi
live=$("$sealcast" release show --json 2>/dev/null |
    python3 -c 'import json, sys; print(((json.load(sys.stdin).get("live") or {}).get("release")) or "r-000001")') || live=r-000001
"$sealcast" release activate "$live" --activated-by example-releaser
