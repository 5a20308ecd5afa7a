# syntax=docker/dockerfile:1
# The images of chat-server and of the operator, for machines with Docker and the network:
#
#     docker build --target chat-server --tag folkmoot/chat-server:0.2.0 .
#     docker build --target operator --tag folkmoot/operator:0.2.0 .
#     docker buildx build --platform linux/amd64,linux/arm64 --target chat-server .
#
# scripts/images.sh makes smaller ones without either. Other platforms are cross-compiled, not emulated.
ARG DEBIAN=bookworm

FROM --platform=$BUILDPLATFORM rust:1.95-$DEBIAN AS build
ARG BUILDARCH
ARG TARGETARCH
# GNU's and Debian's names of the target, which all later steps need.
RUN case "$TARGETARCH" in \
        amd64) echo 'gnu=x86_64 package=x86-64' ;; \
        arm64) echo 'gnu=aarch64 package=aarch64' ;; \
        *) echo "expected amd64 or arm64, got $TARGETARCH" >&2; exit 1 ;; \
    esac >/target
RUN . /target; cross= \
 && if [ "$TARGETARCH" != "$BUILDARCH" ]; then \
        cross="gcc-$package-linux-gnu g++-$package-linux-gnu libc6-dev-$TARGETARCH-cross"; \
    fi \
 && apt-get update \
 && apt-get install --yes --no-install-recommends protobuf-compiler $cross \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add "$gnu-unknown-linux-gnu"
WORKDIR /src
COPY . .
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,id=target-$TARGETARCH,target=/src/target \
    . /target; triple=$gnu-unknown-linux-gnu \
 && cargo build --release --locked --target "$triple" --bin chat-server --bin folkmoot-operator \
 && mkdir /out \
 && for program in chat-server folkmoot-operator; do \
        "$gnu-linux-gnu-objcopy" --strip-all "target/$triple/release/$program" "/out/$program" || exit; \
    done

FROM debian:$DEBIAN-slim AS base
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 65532 --user-group --home-dir /var/lib/folkmoot --shell /usr/sbin/nologin folkmoot \
 && install -d -m 1777 /var/lib/folkmoot
USER 65532:65532
WORKDIR /

FROM base AS operator
COPY --from=build /out/folkmoot-operator /usr/bin/folkmoot-operator
ENTRYPOINT ["/usr/bin/folkmoot-operator"]

# The last one is what `docker build .` makes.
FROM base AS chat-server
COPY --from=build /out/chat-server /usr/bin/chat-server
EXPOSE 8080 8081 7443
ENTRYPOINT ["/usr/bin/chat-server"]
