# The commands of this project. `make demo` shows it, `make test` proves it; both install what they need first.

CARGO ?= cargo
# Labs make namespaces and mounts: the programs that do are run as root.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env)
RUN_AS_ROOT := $(if $(AS_ROOT),--config 'target."cfg(unix)".runner="$(AS_ROOT)"',)

# The guests of the lab are waited for most of the time: the simulation, which only computes, is played meanwhile. What is
# not the one is the other.
SIMULATION := --test 'si*'
OTHER_TESTS := --test '[!s]*' --test 's[!i]*'

.PHONY: help setup build demo demo-stop test deny setup-bench bench setup-packages packages test-packages

help:
	@echo "make setup      install what is needed beside a Rust toolchain (Debian 12)"
	@echo "make demo       a coordinator and three hosts on this machine, with real guests placed on them"
	@echo "make demo-stop  remove the demo"
	@echo "make test       all tests, with real guests in the lab"
	@echo "make packages   build deb and rpm of agent, coordinator and command into target/packages"
	@echo "make test-packages  install, run, upgrade and remove packages in a machine under systemd, with real guests"
	@echo "make bench      measure; prints lines 'bench NAME VALUE UNIT'"
	@echo "make deny       check dependencies: licences, sources, advisories (needs cargo-deny)"

# Does nothing when everything is there.
setup:
	@packaging/setup.sh

build: setup
	$(CARGO) build --workspace --locked

demo: build
	$(AS_ROOT) target/debug/reeve-demo run

demo-stop: build
	$(AS_ROOT) target/debug/reeve-demo stop

test: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check bans licenses sources; \
	else echo "cargo-deny is not installed: 'make deny' says how"; fi
	$(CARGO) build --workspace --all-targets --locked
	@nice -n 19 $(CARGO) test --workspace --locked $(SIMULATION) >target/simulation.log 2>&1 & simulation=$$!; \
	echo "the simulation is played beside the other tests; its words come at the end"; \
	$(CARGO) $(RUN_AS_ROOT) test --workspace --locked --lib --bins $(OTHER_TESTS) || \
	{ kill $$simulation; wait $$simulation; exit 1; }; \
	wait $$simulation; played=$$?; cat target/simulation.log; exit $$played
	$(CARGO) test --workspace --locked --doc

deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo "run 'cargo install --locked cargo-deny' first" >&2; exit 1; }
	$(CARGO) deny --locked check

setup-bench: setup
	@packaging/setup-bench.sh

# Large pages: a fleet's scores lie in more memory than a processor knows addresses of otherwise (a seventh faster at
# 100,000 hosts). The coordinator gains the same by the same variable.
bench: setup-bench
	$(CARGO) build --release --workspace --locked
	$(AS_ROOT) env GLIBC_TUNABLES=glibc.malloc.hugetlb=1 target/release/reeve-bench

setup-packages: setup
	@packaging/setup-packages.sh

# With PROFILE=dev of what `make test` has built: quick, and for trying packages only.
PROFILE ?= release
packages: setup-packages
	packaging/build.sh --profile $(PROFILE)

# The same programs are packed as two versions, so that one can be upgraded to the other.
test-packages: setup-packages
	rm -rf target/packages/trial
	packaging/build.sh --profile dev --version 0.0.9 --output target/packages/trial
	packaging/build.sh --profile dev --output target/packages/trial
	$(CARGO) $(RUN_AS_ROOT) test --workspace --locked --test packages -- --ignored --test-threads=1
