# Two commands for a fresh machine: `make demo` and `make test`. Each installs what it lacks.
.PHONY: demo test check bench build sabotaged setup fuzz constant-time

# Build tools, a PKCS#11 token in software, and gcore for the demo's core dumps.
setup:
	@scripts/setup

# The main job on real processes: three nodes, three tokens, kill -9, a leak scan. The feature lets the client tell the
# data key and fragments that the scan looks for; no release build has it.
demo: setup
	cargo build -p symbolon-cli -p symbolon-node --bins --features symbolon-cli/evidence
	target/debug/symbolon demo

build: setup
	cargo build -p symbolon-cli -p symbolon-node --bins

# A node that can lie, for the tests that find it out; the same dependencies, so that little is compiled twice.
sabotaged: build
	cargo build -p symbolon-cli -p symbolon-node --bin symbolon-node --features symbolon-node/sabotage \
		--target-dir target/sabotaged

test: sabotaged
	cargo test --workspace

# Everything that needs no RocksDB: quick, while working.
NO_ROCKSDB = --workspace --exclude symbolon-store --exclude symbolon-node --exclude symbolon-sim --exclude symbolon-benches \
	--exclude symbolon-fuzz
check:
	cargo fmt --all --check
	cargo clippy $(NO_ROCKSDB) --all-targets -- -D warnings
	cargo test $(NO_ROCKSDB) --lib

bench: setup
	cargo build --release -p symbolon-cli -p symbolon-node -p symbolon-benches --bins
	target/release/symbolon-bench $(ARGS)

# Each target for SECONDS (60) of CPU time, all or those in TARGETS; needs a nightly compiler and cargo-fuzz, and says so.
fuzz:
	@FUZZ_SECONDS=$(or $(SECONDS),60) TARGETS="$(TARGETS)" scripts/fuzz

# Whether what is done with secrets depends on them; needs valgrind, and says so.
constant-time:
	cargo run --release --quiet --manifest-path constant-time/Cargo.toml
