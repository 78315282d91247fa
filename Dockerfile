# Convoy as one static binary, and nothing else.
#
#   docker build -t convoy:0.1.0 .
#
# Nobody looks into an image, so `make test` builds the same binary, and tests/deploy/image.rs runs it as
# a container does: static and small, alone in a read-only root, with no environment, as user 65532.

# rust-version of Cargo.toml. Debian's C library can be linked statically.
FROM rust:1.95-bookworm AS build
WORKDIR /convoy
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/convoy/target \
    make image-binary && cp target/static/convoy /usr/local/bin/convoy

# Certificates of well-known authorities, /etc/passwd and time zones; no shell, no package manager.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /usr/local/bin/convoy /convoy
# By number, so that `runAsNonRoot` can tell.
USER 65532:65532
# xDS, and /healthz, /readyz and /metrics.
EXPOSE 18000 18001
ENTRYPOINT ["/convoy"]
CMD ["serve", "--xds-listen=0.0.0.0:18000", "--admin-listen=0.0.0.0:18001"]
