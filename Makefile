# `make` lists the targets. Everything here works offline once `cargo fetch` has run.
CARGO ?= cargo
BINARY ?= target/first/seal-secrets
# Folders: only those that are set here are passed on. Copies of another set of values get a separate folder, which git ignores.
KEYS ?=
OUT ?=
OTHER := $(lastword $(filter-out keys out,$(patsubst %/,%,$(KEYS) $(OUT))))
SECRETS ?= $(if $(OTHER),$(OTHER)-secrets)
SETTINGS ?=
FOLDERS = $(if $(SETTINGS),--settings $(SETTINGS)) $(if $(KEYS),--keys $(KEYS)) $(if $(OUT),--out $(OUT)) $(if $(SECRETS),--secrets $(SECRETS))
ARGS ?=
SKIP ?=

.PHONY: help build seal-secrets seal-secrets-plan reset-dex-admin verify install test cluster-test check bless bench audit dist airgap dist-test

help: ## print this
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

# A fast build for newcomers; `install` and `dist` build slowly, for a small program.
build:
	@$(CARGO) build --profile first --locked

seal-secrets: build ## the main job: the sealing key where there is none, then every secret that is missing
	@$(BINARY) $(FOLDERS) keygen --if-missing
	@$(BINARY) $(FOLDERS) bootstrap $(ARGS)

seal-secrets-plan: build ## what `make seal-secrets` would do
	@$(BINARY) $(FOLDERS) plan $(ARGS)

reset-dex-admin: build ## a new password for Dex's administrator, its hash, and your copy of it
	@$(BINARY) $(FOLDERS) rotate dex-admin-password --yes $(ARGS)

verify: build ## does everything in out/ agree?
	@$(BINARY) $(FOLDERS) verify $(ARGS)

install: ## the binary into cargo's bin folder
	SEAL_SECRETS_COMMIT=$$(git rev-parse HEAD || echo unknown) cargo install --locked --path .

# Missing programs are listed last; with REQUIRE_TOOLS=1 they are a failure. One thread more than there are cores: one test waits.
test: ## everything that needs no cluster; needs Rust and a C compiler
	@mkdir -p target && : > target/left-out
	@LEFT_OUT=$(CURDIR)/target/left-out RUST_TEST_THREADS=$$(($$(nproc) + 1)) $(CARGO) test --locked; ended=$$?; \
	  if test -s target/left-out; then echo "left out, for want of a program:"; sort -u target/left-out | sed 's/^/  /'; fi; exit $$ended

# The programs are built with a network, the tests run without one.
cluster-test: ## against a real control plane, built once; SKIP=1 passes where none can run; ARGS=NAME picks tests
	@tests/cluster/build --check || test -n "$(SKIP)"
	@if tests/cluster/build --check 2>/dev/null; then set -ex; \
	  tests/cluster/build; \
	  $(CARGO) test --locked --test cluster --no-run; \
	  tests/cluster/enter $(CARGO) test --locked --offline --test cluster -- --test-threads=1 $(ARGS); \
	fi

check: ## what CI runs: format, clippy, dependencies, tests
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	cargo clippy --locked --test cluster -- --deny warnings
	cargo clippy --locked --no-default-features -- --deny warnings
	cargo fetch --locked
	cargo deny --locked --offline check bans licenses sources
	$(MAKE) test

audit: ## known weaknesses of the dependencies; needs the network
	cargo deny --locked check advisories

bless: ## renew every golden file
	BLESS=1 cargo test --locked --test offline -- contract readme doctor diagnosis

bench: ## ratios against kubeseal and the bare primitives
	cargo bench --locked --bench seal

# zig compiles C and links for every target; on a Mac, Apple's own tools do.
TOOLS := target/dist-tools
ZIG := $(if $(filter Linux,$(shell uname)),$(TOOLS)/bin/cargo-zigbuild)

$(TOOLS)/bin/cargo-zigbuild: dist/tools.txt
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --require-hashes --requirement dist/tools.txt
	@touch $@

DIST = PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" TARGETS="$(TARGETS)" python3 -B dist/
TARGETS ?=

dist: $(ZIG) ## what is released, into target/dist; TARGETS="…" picks targets; needs Python 3.11
	@$(DIST)dist.py dist

airgap: $(ZIG) ## one archive for a machine without a network: program, documents, what to mirror
	@$(DIST)dist.py airgap

dist-test: $(ZIG) ## makes both, reads them back, runs them in an empty root without a network, makes them again in another folder
	@$(DIST)dist.py dist airgap
	@$(DIST)test.py $(ARGS)
