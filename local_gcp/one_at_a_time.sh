#!/bin/sh
# Run a command under a lock: one_at_a_time.sh FILE COMMAND...
set -eu

file=$1
shift
mkdir -p "$(dirname "$file")" 2>/dev/null || true
# If the lock cannot be written, the command cannot write either and reports what to do about it.
if (: >>"$file") 2>/dev/null; then
    # Child processes inherit the lock and hold it even if this one is killed.
    exec 9>>"$file"
    flock -n 9 || {
        echo "another make is working on $(dirname "$file"), waiting for it" >&2
        flock 9
    }
fi
exec "$@"
