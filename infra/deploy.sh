#!/usr/bin/env bash
# Deploys template.yaml with SAM into the account that the AWS_* variables name, and pins the key that signs models.
#
#   infra/deploy.sh STAGE SEALCAST [PARAMETER=VALUE...]
#
# SEALCAST is the command line's binary. Without parameters SAM asks for them the first time and keeps the answers in
# .sealcast/samconfig.toml. TEMPLATE names another template than ./template.yaml. Writes .sealcast/stack-STAGE.env.
#
# The first deployment of a stage takes two passes: the key that signs models is made by the first, and predict is
# told to trust it by the second.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 2 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
stage=$1 sealcast=$2
shift 2
template=${TEMPLATE:-template.yaml}
stack=sealcast-$stage
settings=.sealcast/stack-$stage.env
config=$PWD/.sealcast/samconfig.toml
code=$(dirname "$template")/target/lambda

for function in predict health; do
    [ -x "$code/$function/bootstrap" ] ||
        { echo "$code/$function/bootstrap is not there: first make build" >&2; exit 1; }
done
architecture=$(cat "$code/architecture")
tests/clients/make-venv.sh .venv-stack tests/stack/requirements.txt
PATH=$PWD/.venv-stack/bin:$PATH
export SAM_CLI_TELEMETRY=0
mkdir -p .sealcast

deploy() {
    sam deploy --template-file "$template" --stack-name "$stack" --capabilities CAPABILITY_IAM CAPABILITY_NAMED_IAM \
        --no-fail-on-empty-changeset "$@"
}
own=("Stage=$stage" "Architecture=$architecture")
if [ $# -gt 0 ]; then
    deploy --resolve-s3 --no-confirm-changeset --no-progressbar --parameter-overrides "${own[@]}" "$@"
else
    [ -e "$config" ] || echo "version = 0.1" >"$config"
    answers=(--config-file "$config" --config-env "$stage")
    if grep -q "^\[$stage\.deploy\.parameters\]" "$config"; then
        deploy "${answers[@]}"
    else
        echo "SAM asks for the parameters now; leave Stage at $stage and Architecture at $architecture, as it was built."
        deploy "${answers[@]}" --guided --parameter-overrides "${own[@]}"
    fi
fi
infra/write_settings.py "$stack" "$settings"

signing=$("$sealcast" key show model --form trusted --stack "$settings")
trusted=$(sed -n 's/^SEALCAST_TRUSTED_KEYS=//p' "$settings")
if [[ $trusted != *"$signing"* ]]; then
    echo "== The key that signs models is to be trusted: a second pass"
    # What is not named keeps its value.
    deploy --resolve-s3 --no-confirm-changeset --no-progressbar \
        --parameter-overrides "TrustedModelKeys=${trusted:+$trusted,}$signing"
    infra/write_settings.py "$stack" "$settings"
fi
echo "== Deployed: $stack at $(cat "${settings%.env}.url"); its settings are in $settings"
