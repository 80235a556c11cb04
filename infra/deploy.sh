#!/usr/bin/env bash
# Deploys template.yaml with SAM into the account and region that the AWS_* variables name.
#
#   infra/deploy.sh STAGE SEALCAST [PARAMETER=VALUE...]
#
# SEALCAST is the command line's binary. The first time SAM asks for the parameters, unless some are given; later those
# that are not given keep their values. TEMPLATE names another template than ./template.yaml. Writes the stack's
# settings to .sealcast/stack-STAGE.env, and the API's address to .sealcast/stack-STAGE.url. A value may hold spaces
# and quotes, for example 'IamRoles={"*": ["predictor"]}', but no backslash.
#
# The first deployment of a stage takes two passes: the key that signs models is made by the first, and predict is
# told to trust it by the second.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 2 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
stage=$1 sealcast=$2
shift 2
for parameter; do
    [[ $parameter =~ ^[A-Za-z0-9]+= ]] ||
        { echo "$parameter: expected PARAMETER=VALUE, quoted for the shell" >&2; exit 2; }
    # SAM takes a backslash out only together with what follows it, so it cannot be told of one.
    [[ $parameter != *\\* ]] || { echo "$parameter: expected no backslash" >&2; exit 2; }
done
template=${TEMPLATE:-template.yaml}
stack=sealcast-$stage
settings=.sealcast/stack-$stage.env
code=$(dirname "$template")/target/lambda

for function in predict health audit-seal audit-query audit-watch; do
    [ -x "$code/$function/bootstrap" ] ||
        { echo "$code/$function/bootstrap is not there: first make build" >&2; exit 1; }
done
tests/clients/make-venv.sh .venv-stack tests/stack/requirements.txt
PATH=$PWD/.venv-stack/bin:$PATH
export SAM_CLI_TELEMETRY=0
mkdir -p .sealcast

# SAM takes a word of this command line apart once more, at spaces and quotes: each value stands in quotes of its own.
quote() { # PARAMETER=VALUE...
    local parameter
    quoted=()
    for parameter; do
        quoted+=("${parameter%%=*}=\"$(sed 's/"/\\"/g' <<<"${parameter#*=}")\"")
    done
}
deploy() { # PARAMETER=VALUE...
    quote "$@"
    sam deploy --template-file "$template" --stack-name "$stack" --capabilities CAPABILITY_IAM CAPABILITY_NAMED_IAM \
        --resolve-s3 --no-confirm-changeset --no-fail-on-empty-changeset --no-progressbar --parameter-overrides "${quoted[@]}"
}
parameters=("Stage=$stage" "Architecture=$(cat "$code/architecture")" "$@")
if [ $# -eq 0 ] && ! infra/write_settings.py "$stack" "$settings" 2>/dev/null; then
    echo "SAM asks for the parameters now. Leave the two as they are that say what was built: ${parameters[*]}"
    config=$PWD/.sealcast/samconfig.toml
    [ -e "$config" ] || echo "version = 0.1" >"$config"
    quote "${parameters[@]}"
    sam deploy --guided --template-file "$template" --stack-name "$stack" --config-file "$config" \
        --config-env "$stage" --capabilities CAPABILITY_IAM CAPABILITY_NAMED_IAM --parameter-overrides "${quoted[@]}"
else
    deploy "${parameters[@]}"
fi
infra/write_settings.py "$stack" "$settings"

signing=$("$sealcast" key show model --form trusted --stack "$settings")
trusted=$(sed -n 's/^SEALCAST_TRUSTED_KEYS=//p' "$settings")
if [[ $trusted != *"$signing"* ]]; then
    echo "== The key that signs models is to be trusted: a second pass"
    deploy "TrustedModelKeys=${trusted:+$trusted,}$signing"
    infra/write_settings.py "$stack" "$settings"
fi
echo "== Deployed: $stack at $(cat "${settings%.env}.url"); its settings are in $settings"
