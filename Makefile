# Everything a fresh Debian machine with cargo, make and Python needs is installed by these targets themselves
# (tests/setup). Building and running need no root; the client tests do: they make their own network and mounts.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/funaya
ifeq ($(CI),true)
# Outside the checkout, so that the next run finds what this one built.
export CARGO_TARGET_DIR ?= $(CACHE)/target
endif
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
DATA := $(abspath $(or $(FUNAYA_DATA),funaya-data))
PYTHON := $(CACHE)/venv/bin/python
STAGE := tests/setup/stage.sh
# The program under test: one profile for all tests, so that dependencies are built once.
export FUNAYA_BIN ?= $(TARGET)/ci/funaya

.PHONY: help
help:
	@echo 'make run               build Funaya and start it on http://127.0.0.1:5000, data in ./funaya-data'
	@echo 'make test              all checks and tests; what CI runs'
	@echo 'make test-unit         format, lints, Rust tests, generated code'
	@echo 'make test-clients      real clients: AWS CLI, SDKs, Docker, podman, skopeo, crane, oras, helm'
	@echo 'make test-conformance  the OCI conformance suite'
	@echo 'make test-crash        kills under load (KILLS=50), racing writers (ROUNDS=200), everything at once (SOAK=20)'
	@echo 'make bench             Funaya beside other servers (ARGS=--quick for a short look)'

# One thing after the other: the tests want the cores for themselves.
.NOTPARALLEL:

# --- run

.PHONY: build run
build:
	@tests/setup/setup.sh build
	cargo build --release -p funaya

run: build
	@echo
	@echo 'In a second terminal, sign in as the root of the account:'
	@echo
	@echo '    eval "$$($(TARGET)/release/funaya credentials --data $(DATA) --format env)"'
	@echo
	@exec '$(TARGET)/release/funaya' serve --data '$(DATA)' $(ARGS)

# --- test

KILLS ?= 50
ROUNDS ?= 200
SOAK ?= 20

.PHONY: test
test:
	@$(STAGE) --start
	@$(STAGE) 'set-up' $(MAKE) --no-print-directory tools
	@$(MAKE) --no-print-directory test-unit test-clients test-conformance test-crash
	@$(STAGE) --report

.PHONY: tools
tools:
	@tests/setup/setup.sh test

.PHONY: test-unit
test-unit: tools
	@$(STAGE) 'format' cargo fmt --all --check
	@$(STAGE) 'lints' cargo clippy --workspace --all-targets --profile ci --quiet -- -D warnings
	@$(STAGE) 'Rust tests' cargo test --workspace --profile ci
	@$(STAGE) 'generated code' cargo xtask codegen --check --botocore '$(CACHE)/models'

.PHONY: program
program:
	@$(STAGE) 'program' cargo build --profile ci -p funaya

.PHONY: test-clients
test-clients: tools program
	@$(STAGE) 'clients' tests/clients/run.sh $(ARGS)

.PHONY: test-conformance
test-conformance: tools program
	@$(STAGE) 'conformance' $(PYTHON) tests/conformance/run.py $(ARGS)

.PHONY: test-crash
test-crash: program
	@$(STAGE) 'model' cargo xtask model
	@$(STAGE) 'crashes' cargo xtask crash --kills $(KILLS) --bin '$(FUNAYA_BIN)'
	@$(STAGE) 'races' cargo xtask race --rounds $(ROUNDS) --tags $(ROUNDS) --bin '$(FUNAYA_BIN)'
	@$(STAGE) 'soak' cargo xtask soak --seconds $(SOAK) --bin '$(FUNAYA_BIN)'

# --- bench

.PHONY: bench
bench:
	@tests/setup/setup.sh bench
	cargo build --profile dist -p funaya
	FUNAYA_BIN='$(TARGET)/dist/funaya' python3 bench/run.py $(ARGS)

.PHONY: clean
clean:
	cargo clean
	rm -rf bench/loadgen/target
