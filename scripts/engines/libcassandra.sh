#!/usr/bin/env bash
# Makes a libcassandra to build and test the Cargo feature `cassandra-cpp` with, and prints its directory:
#
#     scripts/engines/libcassandra.sh
#
# A machine that has one (a distribution's or the Apache package) says so with CASSANDRA_SYS_LIB_PATH and keeps it.
# Otherwise the driver's code is taken out of a Python wheel on PyPI that holds all of it: good enough for tests, not
# meant for production. Cached in $FOLKMOOT_CACHE; Linux on x86-64 or ARM only.
source "$(dirname "$0")/../lib.sh"

ACSYLLA=1.2.0
REQUIREMENTS=$ROOT/scripts/engines/libcassandra.txt
OUT=$CACHE/libcassandra-$ACSYLLA

if [ -n "${CASSANDRA_SYS_LIB_PATH:-}" ]; then
    echo "$CASSANDRA_SYS_LIB_PATH"
    exit
fi
if [ -e "$OUT/complete" ]; then
    echo "$OUT"
    exit
fi

missing=
for tool in cc patchelf readelf nm; do type -P "$tool" >/dev/null || missing="$missing $tool"; done
[ -e /usr/include/uv.h ] || missing="$missing libuv"
[ -e /usr/include/openssl/ssl.h ] || missing="$missing openssl"
if [ -n "$missing" ]; then
    packages="gcc patchelf binutils libuv1-dev libssl-dev"
    if [ "$(id -u)" = 0 ] && type -P apt-get >/dev/null; then
        # shellcheck disable=SC2086 # a list
        apt_install $packages
    else
        die "missing:$missing. On Debian and Ubuntu: sudo apt-get install $packages"
    fi
fi

say "making libcassandra (a few seconds, once)"
scratch
# Checked against the hashes in the requirements.
retry 3 python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --implementation cp \
    --python-version 311 --abi cp311 --platform "manylinux_2_28_$(uname -m)" --require-hashes -r "$REQUIREMENTS" \
    -d "$SCRATCH" >&2
(cd "$SCRATCH" && python3 -m zipfile -e acsylla-*.whl wheel)

mkdir -p "$SCRATCH/lib"
extension=$(ls "$SCRATCH"/wheel/acsylla/_cython/cyacsylla*.so)
cp "$SCRATCH"/wheel/acsylla.libs/* "$SCRATCH/lib/"
cp "$extension" "$SCRATCH/lib/libcassandra.so.2"
chmod 755 "$SCRATCH"/lib/*
# The extension also refers to Python. Its data symbols must exist when it is loaded; its functions are never called.
nm -D -u "$extension" | awk '{print $2}' | sed 's/@.*//' | grep -E '^_?Py' | sort -u >"$SCRATCH/symbols"
readelf -r --wide "$extension" | grep -v JUMP_SLO | awk '{print $5}' | sed 's/@.*//' | grep -E '^_?Py' | sort -u >"$SCRATCH/data"
{
    echo '#include <stdlib.h>'
    while read -r symbol; do
        if grep -qx "$symbol" "$SCRATCH/data"; then
            echo "void *$symbol[128];"
        else
            echo "void $symbol(void) { abort(); }"
        fi
    done <"$SCRATCH/symbols"
} >"$SCRATCH/stub.c"
cc -w -O1 -shared -fPIC -Wl,-soname,libcasspystub.so -o "$SCRATCH/lib/libcasspystub.so" "$SCRATCH/stub.c"
# One operation a call: patchelf 0.14 mixes them up when combined. And never strip(1) afterwards.
# shellcheck disable=SC2016 # for the loader
for library in "$SCRATCH"/lib/libcassandra.so.2 "$SCRATCH"/lib/libssl-*.so* "$SCRATCH"/lib/libcrypto-*.so*; do
    patchelf --set-rpath '$ORIGIN' "$library"
done
patchelf --set-soname libcassandra.so.2 "$SCRATCH/lib/libcassandra.so.2"
patchelf --add-needed libcasspystub.so "$SCRATCH/lib/libcassandra.so.2"
ln -s libcassandra.so.2 "$SCRATCH/lib/libcassandra.so"
LD_BIND_NOW=1 python3 -c "import ctypes; ctypes.CDLL('$SCRATCH/lib/libcassandra.so.2').cass_cluster_new"

rm -rf "$OUT"
mkdir -p "$CACHE"
cp -a "$SCRATCH/lib" "$OUT"
touch "$OUT/complete"
echo "$OUT"
