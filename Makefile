.PHONY: test
# Proves the project. CI calls this and nothing else.
test:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked
