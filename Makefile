# Thin: every target is a script in scripts/, which can be read and run on its own.
#
#   PG_CONFIG=/path/to/pg_config   build against, install into and run that PostgreSQL (14 to 18)
#   CARGO_TARGET_DIR=...           build there instead of in target/

.PHONY: help demo install test test-faults soak lint fmt ui bench bench-quick bench-report bench-writes bench-micro endurance fuzz clean

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\): ## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

demo: ## A shop with live traffic in a private PostgreSQL, streamed to you until Ctrl-C
	@scripts/demo.sh

install: ## Put the extension into the PostgreSQL of pg_config, the daemon into target/release
	@scripts/deps.sh
	@scripts/install-extension.sh
	@scripts/build-daemon.sh

test: ## Everything: lint, unit tests, and the whole path against a private PostgreSQL
	@scripts/test.sh

lint: ## Formatting, clippy with warnings denied, shellcheck, licences
	@scripts/lint.sh

fmt: ## Format the Rust code
	@cargo fmt --all

ui: ## Build GraphiQL from ui/ into ui/dist, which is kept in the repository
	@scripts/build-ui.sh

bench: ## Tidings beside its peers, every delivery reconciled: benches/RESULTS.md, in 25 minutes
	@scripts/bench.sh

bench-quick: ## The same in minutes, to see that all of it works; its numbers mean little
	@scripts/bench.sh --quick

bench-report: ## benches/RESULTS.md again, from what was measured last
	@scripts/bench.sh report

bench-writes: ## What an event costs whoever writes: commits per second beside bare tables and other triggers
	@scripts/bench-writes.sh

bench-micro: ## Each station of the path by itself: CPU time and instructions
	@scripts/bench-micro.sh

endurance: ## What 100,000 clients of each transport leave behind, and what streams notice of an attack
	@scripts/endurance.sh

fuzz: ## Ten minutes of inputs that nobody foresaw; what fails is kept in tests/corpus/fuzz
	@scripts/fuzz.sh

test-faults: ## Everything fails while 200 clients over every transport come and go; each history reconciled
	@scripts/test-faults.sh

soak: ## Steady load for MINUTES (10): slopes of memory, open files and lag
	@scripts/soak.sh $(MINUTES)

clean: ## Stop private clusters and remove what was built
	@scripts/clean.sh
