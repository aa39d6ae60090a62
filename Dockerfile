# syntax=docker/dockerfile:1

# Two images from one file:
#   docker build --target database -t tidings-database .   PostgreSQL with the extension
#   docker build --target daemon -t tidings .              the daemon alone

ARG PG_MAJOR=15
ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-bookworm AS rust

# The extension is built in the image that it will run in, against the headers of that very server.
FROM postgres:${PG_MAJOR}-bookworm AS build-extension
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        build-essential ca-certificates clang libclang-dev pkg-config postgresql-server-dev-${PG_MAJOR} \
    && rm -rf /var/lib/apt/lists/*
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:$PATH
COPY --from=rust /usr/local/rustup /usr/local/rustup
COPY --from=rust /usr/local/cargo /usr/local/cargo
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=target-extension,target=/src/target \
    DESTDIR=/out PG_CONFIG=/usr/lib/postgresql/${PG_MAJOR}/bin/pg_config scripts/install-extension.sh

FROM postgres:${PG_MAJOR}-bookworm AS database
COPY --from=build-extension /out/ /

FROM rust AS build-daemon
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=target-daemon,target=/src/target \
    scripts/build-daemon.sh && install -D target/release/tidings /out/tidings

FROM debian:bookworm-slim AS daemon
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home tidings
COPY --from=build-daemon /out/tidings /usr/local/bin/tidings
USER tidings
ENV TIDINGS_LISTEN=0.0.0.0:4000
EXPOSE 4000
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s CMD \
    ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/4000 && printf 'GET /readyz HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n' >&3 && head -n1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["tidings"]
CMD ["serve"]
