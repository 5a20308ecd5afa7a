#!/usr/bin/env bash
# Makes a docker-archive of one image with one layer, without a registry, Docker or the network. The same files in, the same bytes
# out: times are zero, owners are root, names are sorted. Prints the image's id.
#
#     scripts/images/archive.sh ROOT OUT.tar USER ENTRYPOINT TAG…
#
# ROOT is the directory that becomes the image's root. `docker load`, `ctr images import`, `kind load image-archive` and
# `skopeo copy docker-archive:…` read the result.
source "$(dirname "$0")/../lib.sh"

[ $# -ge 5 ] || die "usage: archive.sh ROOT OUT.tar USER ENTRYPOINT TAG…"
root=$1 out=$2 user=$3 entrypoint=$4
shift 4
case $(uname -m) in
    x86_64) architecture=amd64 ;;
    aarch64 | arm64) architecture=arm64 ;;
    *) die "unsupported machine $(uname -m): it must be amd64 or arm64" ;;
esac

# GNU's format has no room for times of access, which would differ each time.
pack() { tar --format=gnu --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$1" -cf "$2" .; }
sum() { sha256sum "$1" | cut -d ' ' -f 1; }

scratch
mkdir "$SCRATCH/archive"
pack "$root" "$SCRATCH/layer.tar"
layer=$(sum "$SCRATCH/layer.tar")
mv "$SCRATCH/layer.tar" "$SCRATCH/archive/$layer.tar"
printf '%s' '{"architecture":"'"$architecture"'","config":{"Entrypoint":["'"$entrypoint"'"],"Env":["PATH=/usr/bin:/bin"],"User":"'"$user"'",' \
    '"WorkingDir":"/"},"created":"1970-01-01T00:00:00Z","history":[{"created":"1970-01-01T00:00:00Z"}],"os":"linux",' \
    '"rootfs":{"diff_ids":["sha256:'"$layer"'"],"type":"layers"}}' >"$SCRATCH/config"
config=$(sum "$SCRATCH/config")
mv "$SCRATCH/config" "$SCRATCH/archive/$config.json"
tags=$(printf '"%s",' "$@")
printf '[{"Config":"%s.json","RepoTags":[%s],"Layers":["%s.tar"]}]' "$config" "${tags%,}" "$layer" >"$SCRATCH/archive/manifest.json"
chmod 755 "$SCRATCH/archive"
chmod 644 "$SCRATCH/archive"/*
mkdir -p "$(dirname "$out")"
pack "$SCRATCH/archive" "$out.new"
mv "$out.new" "$out"
echo "sha256:$config"
