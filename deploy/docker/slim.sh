#!/bin/sh
# Remove files from a virtual environment that are only needed to compile or to test: slim.sh FOLDER.
set -eu

packages=$(echo "$1"/lib/python3.*/site-packages)

# Headers and static libraries are for building against a package; the largest are TensorFlow's.
rm -rf "$packages"/tensorflow/include "$packages"/pyarrow/include
find "$packages" -type f \( -name '*.a' -o -name '*.h' -o -name '*.hpp' -o -name '*.pxd' \) -delete

# TensorFlow installs libclang for its own builds and never imports it.
rm -rf "$packages"/clang/native

# The tests of packages; TFX's and numpy's `testing` modules are imported and stay.
find "$packages" -type d -name tests -prune -exec rm -rf {} +

# Symbols that the loader does not use.
for library in "$packages"/tensorflow/libtensorflow_*.so.2; do
    [ ! -f "$library" ] || strip --strip-unneeded "$library"
done
