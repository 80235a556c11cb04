# make run    serve the example on embedded stores, make a prediction and verify its record
# make test   every test; installs what it needs into project-local folders
# make lint   formatting, clippy, licences, and which crate may depend on which
# make bench  throughput and latency of the whole server, and of the engine
# make fuzz   coverage-guided fuzzing of the parsers (FUZZ_SECONDS each, default 60)

PROFILE ?= local
FUZZ_SECONDS ?= 60
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: run test test-rust test-interop test-clients test-run lint style deny dependencies bench fuzz

run:
	cargo build --locked --profile $(PROFILE) -p server -p cli
	exec examples/run.sh target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

test: test-rust test-interop test-clients test-run

test-rust:
ifeq ($(NEXTEST),yes)
	cargo nextest run --locked --workspace
else
	cargo test --locked --workspace
endif
	cargo test --locked --workspace --doc

# A second implementation in Python opens what Rust seals and the reverse; model_signing verifies the signature.
test-interop:
	tests/interop/run.sh

# tritonclient, KServe's and MLServer's clients against the server.
test-clients:
	cargo build --locked -p server -p cli
	tests/clients/run.sh

# What the README promises of `make run`, on the binaries of the test build.
test-run:
	cargo build --locked -p server -p cli
	python3 tests/run/test_run.py target/debug

lint: style deny dependencies

style:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

deny: .tools/bin/cargo-deny
	.tools/bin/cargo-deny --all-features check bans licenses sources

.tools/bin/cargo-deny:
	cargo install --locked --root .tools cargo-deny@0.20.2

dependencies:
	tests/dependencies.sh

bench:
	cargo bench --locked -p engine
	tests/load/bench.sh

fuzz:
	fuzz/run.sh $(FUZZ_SECONDS)
