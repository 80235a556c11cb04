#!/usr/bin/env bash
# Verifiers that are not ours, over a log that our code sealed: Go's sumdb packages and Python's standard library. They
# must accept the log, a proof and the growth, and what `sealcast audit prove` wrote, and refuse each of them once
# anything in it is altered. `sealcast audit verify` must agree with them.
set -euo pipefail
cd "$(dirname "$0")/../.."

go_packages=/usr/share/gocode
if ! command -v go > /dev/null || [ ! -d $go_packages/src/golang.org/x/mod/sumdb/tlog ]; then
    packages=(golang-go golang-golang-x-mod-dev)
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        echo "the Go verifier needs Debian's packages ${packages[*]}: install them, or run this as root" >&2
        exit 1
    fi
    echo "installing ${packages[*]}"
    apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null; }
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Without modules: the packages come from Debian, nothing is fetched.
GO111MODULE=off GOPATH=$go_packages GOFLAGS= GOCACHE=$work/go-cache go build -o "$work/verify_log" docs/verify/verify_log.go
cargo run --locked --quiet -p audit --example make_log -- "$work/good"
# The selection of all tests: another one would put a command without AWS stores in the place of theirs.
cargo build --locked --quiet --workspace --all-features --bin sealcast
sealcast=${CARGO_TARGET_DIR:-target}/debug/sealcast
event=$(python3 -c 'import json, sys; e = json.load(open(sys.argv[1])); print(e["stream"], e["seq"], sep=":")' "$work/good/event.json")
"$sealcast" audit prove "$event" --log "$work/good/log" --key "$work/good/log.vkey" --out "$work/good" --name proven > /dev/null
"$sealcast" audit prove --index 0 --log "$work/good/log" --key "$work/good/log.vkey" --out "$work/good" --name first > /dev/null

"$sealcast" audit checkpoint --log "$work/good/log" --key "$work/good/log.vkey" --since "$work/good/older-checkpoint" \
    --out "$work/good/newer" --growth "$work/good/written-growth" > /dev/null

failed=0
by_go() { "$work/verify_log" "$1/log.vkey" "${@:2}"; }
by_python() { python3 docs/verify/verify_log.py "$@"; }
by_ours() { # DIR proof PROOF EVENT | growth | log
    local keys=(--key "$1/log.vkey" --key "$1/registration.pub.pem")
    case $2 in
        proof) "$sealcast" audit verify "$4" --proof "$3" "${keys[@]}" ;;
        growth) "$sealcast" audit checkpoint --log "$1/log" --since "$1/older-checkpoint" "${keys[@]}" ;;
        log) "$sealcast" audit verify --log "$1/log" "${keys[@]}" ;;
    esac
}
commands() { # DIR: what a verifier says of everything in it; each must be right, or each must be refused
    printf '%s\n' "by_go $1 proof $1/event.tlog-proof $1/event.json" "by_go $1 growth $1/older-checkpoint $1/log/checkpoint $1/growth" \
        "by_go $1 log $1/log" "by_python log $1/log" "by_python proof $1/event.tlog-proof $1/event.json" \
        "by_go $1 proof $1/proven.tlog-proof $1/proven.json" "by_python proof $1/proven.tlog-proof $1/proven.json" \
        "by_go $1 proof $1/first.tlog-proof $1/first.json" "by_python proof $1/first.tlog-proof $1/first.json" \
        "by_ours $1 proof $1/event.tlog-proof $1/event.json" "by_ours $1 growth" "by_ours $1 log"
}
run() { # COMMAND…
    "$@" > "$work/said" 2>&1
}
accept() {
    run "$@" || { echo "refused, but right: ${*//$work\//} : $(cat "$work/said")"; failed=1; }
}
refuse() { # WHAT COMMAND…
    if run "${@:2}"; then echo "accepted, but $1: ${*:2}"; failed=1; else echo "refused, $1: $(tail -n1 "$work/said")"; fi
}
altered() { # NAME FILE: a copy of the log in which FILE is to be altered
    rm -rf "$work/$1"
    cp -r "$work/good" "$work/$1"
    echo "$work/$1"
}
flip() { # FILE OFFSET: flips a bit of that byte; a negative offset counts from the end
    python3 - "$@" <<'PY'
import sys
path, at = sys.argv[1], int(sys.argv[2])
data = bytearray(open(path, "rb").read())
data[at] ^= 1
open(path, "wb").write(data)
PY
}

while read -r command; do
    # shellcheck disable=SC2086
    accept $command
done < <(commands "$work/good")
for name in json tlog-proof; do
    cmp "$work/good/event.$name" "$work/good/proven.$name" || failed=1
done
cmp "$work/good/growth" "$work/good/written-growth" || failed=1
cmp "$work/good/log/checkpoint" "$work/good/newer" || failed=1

dir=$(altered event)
flip "$dir/event.json" 40
refuse "the event is altered" by_go "$dir" proof "$dir/event.tlog-proof" "$dir/event.json"
refuse "the event is altered" by_python proof "$dir/event.tlog-proof" "$dir/event.json"
refuse "the event is altered" by_ours "$dir" proof "$dir/event.tlog-proof" "$dir/event.json"
flip "$dir/proven.json" 40
refuse "the event is altered" by_go "$dir" proof "$dir/proven.tlog-proof" "$dir/proven.json"
refuse "another entry's proof" by_go "$dir" proof "$dir/first.tlog-proof" "$work/good/proven.json"
refuse "another entry's proof" by_ours "$dir" proof "$dir/first.tlog-proof" "$work/good/proven.json"

dir=$(altered proof)
sed -i '3s/^\(.\)\(.\)/\2\1/; 3s/^\(..\)AA/\1BB/' "$dir/event.tlog-proof"
cmp -s "$dir/event.tlog-proof" "$work/good/event.tlog-proof" && { echo "the proof was not altered"; failed=1; }
refuse "the proof is altered" by_go "$dir" proof "$dir/event.tlog-proof" "$dir/event.json"
refuse "the proof is altered" by_python proof "$dir/event.tlog-proof" "$dir/event.json"
refuse "the proof is altered" by_ours "$dir" proof "$dir/event.tlog-proof" "$dir/event.json"
sed -i '2s/index \(.*\)/index 1\1/' "$dir/event.tlog-proof"
refuse "the index is altered" by_go "$dir" proof "$dir/event.tlog-proof" "$dir/event.json"

dir=$(altered checkpoint)
sed -i '2s/^./9/' "$dir/log/checkpoint"
refuse "the checkpoint's size is altered" by_go "$dir" log "$dir/log"
refuse "the checkpoint's size is altered" by_python log "$dir/log"
refuse "the checkpoint's size is altered" by_ours "$dir" log
refuse "the checkpoint's size is altered" by_ours "$dir" growth
refuse "the checkpoint's size is altered" by_go "$dir" growth "$dir/older-checkpoint" "$dir/log/checkpoint" "$dir/growth"

dir=$(altered signature)
sed -i '$s/.....$/AAAA=/' "$dir/log/checkpoint"
refuse "the checkpoint's signature is altered" by_go "$dir" log "$dir/log"
refuse "the checkpoint's signature is altered" by_ours "$dir" log

dir=$(altered growth)
sed -i '1s/^\(.\)\(.\)/\2\1/; 2d' "$dir/growth"
refuse "the growth is altered" by_go "$dir" growth "$dir/older-checkpoint" "$dir/log/checkpoint" "$dir/growth"

dir=$(altered entries)
flip "$dir/log/tile/entries/001" 1000
refuse "an entry of the log is altered" by_go "$dir" log "$dir/log"
refuse "an entry of the log is altered" by_python log "$dir/log"
refuse "an entry of the log is altered" by_ours "$dir" log

[ $failed = 0 ] && echo "verify: Go and Python agree with the log"
exit $failed
