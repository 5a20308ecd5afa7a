#!/usr/bin/env bash
# Checks scripts/images.sh: made twice an image is the same to the last byte, its program finds every library and file that it
# needs in the image itself, and it runs as 65532 from a root that nobody can write to.
#
#     scripts/images/check.sh --bin-dir DIR      where chat-server and folkmoot-operator are
source "$(dirname "$0")/../lib.sh"

# unpack ARCHIVE DIR: the root of its only layer.
unpack() {
    mkdir -p "$2"
    tar -xf "$1" -C "$SCRATCH" --wildcards --no-anchored --one-top-level="$(basename "$2")-archive" '*.tar'
    tar --no-same-owner -xf "$SCRATCH/$(basename "$2")-archive"/*.tar -C "$2"
    rm -r "$SCRATCH/$(basename "$2")-archive"
}

# The image's own loader, told to look nowhere else, lists what it would load.
libraries_are_inside() {
    local root=$1 program=$2 folder loader listed path
    for loader in "$root"/lib*/ld-linux-*.so.*; do break; done
    folder=$(dirname "$(find "$root" -name 'libc.so.*' | head -n 1)")
    listed=$("$loader" --inhibit-cache --library-path "$folder" --list "$root$program")
    while read -r path; do
        case $path in "$root"/*) ;; *) die "$program loads $path, which is not in its image" ;; esac
    done < <(sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' <<<"$listed")
    [ "$("$loader" --inhibit-cache --library-path "$folder" "$root$program" --version | wc -l)" -ge 1 ] || die "$program does not run"
}

# What is in it belongs to nobody who runs in it, and only the mount points can be written to.
nothing_is_writable() {
    local open
    open=$(cd "$1" && find . -perm /022 ! -path ./tmp ! -path ./var/lib/folkmoot)
    [ -z "$open" ] || die "others may write to $open"
}

scratch
"$ROOT/scripts/images.sh" --out "$SCRATCH/first" "$@" >"$SCRATCH/first.txt"
# Another day, another mask.
(umask 077; TZ=Asia/Tokyo "$ROOT/scripts/images.sh" --out "$SCRATCH/second" "$@" >"$SCRATCH/second.txt")
for name in chat-server operator; do
    cmp "$SCRATCH/first/$name.tar" "$SCRATCH/second/$name.tar" || die "the image of $name is another one each time"
    unpack "$SCRATCH/first/$name.tar" "$SCRATCH/$name"
    case $name in chat-server) program=/usr/bin/chat-server ;; operator) program=/usr/bin/folkmoot-operator ;; esac
    tar -xOf "$SCRATCH/first/$name.tar" --wildcards './*.json' --exclude ./manifest.json >"$SCRATCH/config.json"
    grep -qF '"User":"65532:65532"' "$SCRATCH/config.json" || die "$name does not run as 65532"
    grep -qF "\"Entrypoint\":[\"$program\"]" "$SCRATCH/config.json" || die "$name does not start $program"
    libraries_are_inside "$SCRATCH/$name" "$program"
    nothing_is_writable "$SCRATCH/$name"
    say "$name: $(($(wc -c <"$SCRATCH/first/$name.tar") / 1048576)) MiB, the same twice"
done
diff <(cut -d ' ' -f 1,2 "$SCRATCH/first.txt") <(cut -d ' ' -f 1,2 "$SCRATCH/second.txt")
