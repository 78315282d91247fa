# Convoy as one static binary, and nothing else.
#
#   docker build -t convoy:0.1.0 .
#
# What a test of the binary in here has to assert, because nobody looks into an image:
#   - it is static: no program interpreter (PT_INTERP) and no shared library (DT_NEEDED);
#   - `convoy --version` says the version of Cargo.toml, under uid 65532, with no HOME, a read-only root
#     and nothing mounted;
#   - it is smaller than 40 MB.

# rust-version of Cargo.toml. The target of Alpine's toolchain is musl, which links statically.
FROM rust:1.95-alpine AS build
# A C compiler and headers, for the cryptography.
RUN apk add --no-cache musl-dev
WORKDIR /convoy
COPY . .
# The paths of this machine are nobody's business, and do not change what is built.
ENV RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/convoy= --remap-path-prefix=/usr/local/cargo="
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/convoy/target \
    cargo build --locked --release --bin convoy \
 && cp target/release/convoy /usr/local/bin/convoy \
 && strip /usr/local/bin/convoy

# Certificates of well-known authorities, /etc/passwd and time zones; no shell, no package manager.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /usr/local/bin/convoy /convoy
# By number, so that `runAsNonRoot` can tell.
USER 65532:65532
# xDS, and /healthz, /readyz and /metrics.
EXPOSE 18000 18001
ENTRYPOINT ["/convoy"]
CMD ["serve", "--xds-listen=0.0.0.0:18000", "--admin-listen=0.0.0.0:18001"]
