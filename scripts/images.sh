#!/usr/bin/env bash
# Makes the images of chat-server and of the operator, without a registry, Docker or the network: the program, the libraries that
# it loads, certificates of authorities, and nothing else. The same program on the same machine gives the same image.
#
#     scripts/images.sh [--profile release|debug] [--bin-dir DIR] [--build] [--out DIR] [--tag TAG…] [chat-server|operator…]
#
# Programs are taken from the target directory, or from --bin-dir; what is not there, or with --build everything, is compiled
# first. DIR (target/images) gets NAME.tar for each, for `kind load image-archive`, `docker load`, `ctr images import` or
# scripts/kube/cluster.sh load. Prints the reference, id and archive of each. --tag gives an image another tag beside the
# version. Linux only: elsewhere use the Dockerfile.
source "$(dirname "$0")/lib.sh"

PROFILE=release
BIN_DIR=
BUILD=
OUT=$TARGET_DIR/images
NAMES=
TAGS=
while [ $# -gt 0 ]; do
    case $1 in
        --profile | --bin-dir | --out | --tag)
            [ $# -gt 1 ] || die "$1 needs a value"
            case $1 in --profile) PROFILE=$2 ;; --bin-dir) BIN_DIR=$2 ;; --out) OUT=$2 ;; --tag) TAGS="$TAGS $2" ;; esac
            shift
            ;;
        --build) BUILD=1 ;;
        chat-server | operator) NAMES="$NAMES $1" ;;
        *) die "unknown argument '$1'; there are chat-server, operator and the options in the head of this script" ;;
    esac
    shift
done
case $PROFILE in
    release) CARGO_PROFILE=release ;;
    debug) CARGO_PROFILE=dev ;;
    *) die "unknown profile '$PROFILE'; there are release and debug" ;;
esac
[ "$(uname)" = Linux ] || die "programs of $(uname) do not run in an image: docker build --target chat-server . makes one"
NAMES=${NAMES:-chat-server operator}
VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")
[ -n "$VERSION" ] || die "found no version in [workspace.package] of Cargo.toml"

# program NAME: what the image NAME starts.
program() { case $1 in chat-server) echo chat-server ;; operator) echo folkmoot-operator ;; esac; }

# compiled PROGRAM: its path, after compiling it where that is needed.
compiled() {
    local dir=${BIN_DIR:-$TARGET_DIR/$PROFILE}
    if [ -z "$BIN_DIR" ] && { [ -n "$BUILD" ] || [ ! -x "$dir/$1" ]; }; then
        (cd "$ROOT" && cargo build --locked --quiet --profile "$CARGO_PROFILE" --bin "$1") >&2
    fi
    [ -x "$dir/$1" ] || die "there is no program $dir/$1"
    echo "$dir/$1"
}

# libraries PROGRAM: the paths of its shared libraries and its loader, under which it will look for them. What looks up names
# is loaded at run time by glibc before 2.34, so no program lists it.
libraries() {
    local listed library
    listed=$(ldd "$1") || die "$1 is not a dynamic program"
    case $listed in *"not found"*) die "libraries of $1 are missing: $listed" ;; esac
    listed=$(sed -n 's/^[[:space:]]*\(.* => \)\{0,1\}\(\/[^ ]*\) (0x[0-9a-f]*)$/\2/p' <<<"$listed")
    echo "$listed"
    library=$(grep '/libc\.so' <<<"$listed") || die "$1 does not use the C library"
    for library in "$(dirname "$library")"/{libnss_files.so.2,libnss_dns.so.2,libresolv.so.2}; do
        [ ! -e "$library" ] || echo "$library"
    done
}

# root PROGRAM PATH DIR: the image's root. Modes are given, never taken over: they are part of the image's id.
root() {
    local library bundle
    mkdir -p "$3"
    install -D -m 755 "$2" "$3/usr/bin/$1"
    strip --strip-all "$3/usr/bin/$1"
    libraries "$2" | while IFS= read -r library; do install -D -m 755 "$(readlink -f "$library")" "$3$library"; done
    for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem; do
        [ -e "$bundle" ] || continue
        install -D -m 644 "$(readlink -f "$bundle")" "$3/etc/ssl/certs/ca-certificates.crt"
        break
    done
    mkdir -p "$3/etc"
    printf '%s\n' root:x:0:0:root:/:/sbin/nologin folkmoot:x:65532:65532:folkmoot:/var/lib/folkmoot:/sbin/nologin >"$3/etc/passwd"
    printf '%s\n' root:x:0: folkmoot:x:65532: >"$3/etc/group"
    printf 'hosts: files dns\n' >"$3/etc/nsswitch.conf"
    # The root is mounted read-only, so these are where volumes go. A plain `docker run` can write to them as well.
    mkdir -p "$3/tmp" "$3/var/lib/folkmoot"
    find "$3" -type d -exec chmod 755 {} +
    chmod 1777 "$3/tmp" "$3/var/lib/folkmoot"
    chmod 644 "$3/etc/passwd" "$3/etc/group" "$3/etc/nsswitch.conf"
}

scratch
for name in $NAMES; do
    program=$(program "$name")
    path=$(compiled "$program")
    # Not in a pipe or an `if`: a step that fails must end this script.
    root "$program" "$path" "$SCRATCH/$name"
    references=()
    for tag in "$VERSION" $TAGS; do references+=("folkmoot/$name:$tag"); done
    id=$("$ROOT/scripts/images/archive.sh" "$SCRATCH/$name" "$OUT/$name.tar" 65532:65532 "/usr/bin/$program" "${references[@]}")
    rm -r "${SCRATCH:?}/$name"
    echo "folkmoot/$name:$VERSION $id $OUT/$name.tar"
done
