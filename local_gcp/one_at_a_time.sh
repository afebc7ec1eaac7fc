#!/bin/sh
# Run a command while nobody else runs one under the same lock: one_at_a_time.sh FILE COMMAND...
set -eu

file=$1
shift
mkdir -p "$(dirname "$file")" 2>/dev/null || true
# Where no lock can be written nothing can be made either, and the command itself says what to do about it.
if (: >>"$file") 2>/dev/null; then
    # What the command leaves behind when this is killed inherits the lock, and goes on holding it.
    exec 9>>"$file"
    flock -n 9 || {
        echo "another make works on $(dirname "$file"), waiting for it to end" >&2
        flock 9
    }
fi
exec "$@"
