#!/bin/sh
# Install the release of uv that a lock pins, verified by its hashes: install-uv.sh PIP LOCK.
# uv installs everything else, and verifies the hashes of locks itself.
set -eu

wanted=$(mktemp)
trap 'rm "$wanted"' EXIT
sed -n '/^uv==/,/[^\\]$/p' "$2" >"$wanted"
"$1" install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --requirement "$wanted"
