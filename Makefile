# make run           serve the example on embedded stores, make a prediction, verify its record, prove it in the log
# make test          every test; installs what it needs into project-local folders
# make lint          formatting, clippy, licences, which crate may depend on which, and the template
# make bench         throughput and latency of the whole server, and of the engine
# make bench-engine  the engine against onnxruntime and the libraries that trained the models
# make bench-lambda  how the predict function starts and answers, beside a Python function that does the same
# make fuzz          coverage-guided fuzzing of the parsers (FUZZ_SECONDS each, default 60)
# make build         the functions for AWS Lambda (ARCH=arm64 or x86_64), held to their sizes
# make deploy-local  an AWS-shaped stack on this machine with the functions deployed and the example released
# make deploy        the same template into the AWS account that your AWS_* variables name (STAGE=dev, PARAMETERS="A=b 'C=d e' ...")
# make local         the functions under `cargo lambda watch`, on the stores of that local stack
# make stop-local    ends the local stack

PROFILE ?= local
BIN = target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
FUZZ_SECONDS ?= 60
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

# One selection for all that is built to be tested: another one would compile the AWS SDK anew.
ALL := --locked --workspace --all-features
FUNCTIONS := predict health audit-seal audit-query audit-watch
comma := ,
empty :=
space := $(empty) $(empty)
STAGE ?= dev
FUNCTION ?= predict

.PHONY: run test test-rust test-aws test-zoo test-template test-interop test-verify test-clients test-run test-bins e2e
.PHONY: lint style deny dependencies template bench bench-engine bench-lambda fuzz build deploy deploy-local local stop-local

run:
	cargo build --locked --profile $(PROFILE) -p server -p cli
	exec examples/run.sh $(BIN)

test: test-rust test-zoo test-template test-interop test-verify test-clients test-run e2e

# Beside the AWS-shaped stack, which the tests of the AWS stores need: without it they fail.
test-rust: test-bins
ifeq ($(NEXTEST),yes)
	tests/stack/run.sh cargo nextest run $(ALL)
else
	tests/stack/run.sh cargo test $(ALL)
endif
	cargo test $(ALL) --doc

# The AWS stores alone.
test-aws: test-bins
ifeq ($(NEXTEST),yes)
	tests/stack/run.sh cargo nextest run $(ALL) -E 'package(aws-tests) + package(store-aws)'
else
	tests/stack/run.sh cargo test --locked --all-features -p aws-tests -p store-aws
endif

# What the tests of test-rust have built already, where they ran before.
test-bins:
	cargo build $(ALL) --bins --tests

# Each role's permissions against infra/golden, and mutants of them; what else the template must hold to.
test-template:
	tests/clients/make-venv.sh .venv-stack tests/stack/requirements.txt
	.venv-stack/bin/python -m pytest --quiet tests/template

# A second implementation in Python opens what Rust seals and the reverse; model_signing verifies the signature.
test-interop:
	tests/interop/run.sh

# Go's sumdb packages and Python's standard library verify a log that our code sealed, and refuse it altered.
test-verify:
	tests/verify/run.sh

# What libraries export, and ONNX's own backend cases: right or refused, never wrong.
test-zoo:
	tests/zoo/run.sh

# tritonclient, KServe's and MLServer's clients against the server.
test-clients: test-bins
	SERVER_BIN=target/debug/server CLI_BIN=target/debug/sealcast tests/clients/run.sh

# What the README promises of `make run`, on the binaries of the test build.
test-run: test-bins
	python3 tests/run/test_run.py target/debug

# The functions behind the API, deployed by SAM into a fresh AWS-shaped stack.
e2e: test-bins
	tests/e2e/run.sh target/debug

lint: style deny dependencies template

style:
	cargo fmt --all --check
	cargo clippy $(ALL) --all-targets -- -D warnings

deny: .tools/bin/cargo-deny
	.tools/bin/cargo-deny --all-features check bans licenses sources

.tools/bin/cargo-deny:
	cargo install --locked --root .tools cargo-deny@0.20.2

dependencies:
	tests/dependencies.sh

template:
	tests/clients/make-venv.sh .venv-stack tests/stack/requirements.txt
	tests/clients/make-venv.sh .venv-checkov infra/requirements-checkov.txt
	PATH=$(CURDIR)/.venv-stack/bin:$$PATH infra/lint.py .venv-checkov/bin/checkov

bench:
	cargo bench --locked -p engine
	tests/load/bench.sh

bench-engine:
	benches/engine/run.sh

bench-lambda:
	benches/lambda.sh

fuzz:
	fuzz/run.sh $(FUZZ_SECONDS)

build:
	infra/build.sh

# Keeps a stack that is up. With PROFILE=dev the models get the time that they need without optimisation.
deploy-local:
	cargo build --locked --profile $(PROFILE) -p cli $(FUNCTIONS:%=-p %) \
		--features cli/aws$(subst $(space),,$(FUNCTIONS:%=$(comma)%/lambda))
	tests/stack/up.sh
	$(if $(filter dev,$(PROFILE)),LATENCY_BUDGET_MS=20000) infra/deploy-local.sh $(BIN)
	infra/try-local.sh $(BIN)/sealcast

deploy:
	cargo build --locked --profile local -p cli --features cli/aws
	infra/deploy.sh $(STAGE) target/local/sealcast $(PARAMETERS)

local:
	infra/watch.sh $(FUNCTION)

stop-local:
	tests/stack/down.sh
