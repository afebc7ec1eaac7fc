#!/bin/sh
# Make the pipeline environment (TFX, TensorFlow) and link it as .pipeline/bin/python.
#
# ml-metadata and tensorflow-data-validation ship wheels for glibc >= 2.39 only. On such a machine the
# environment is a virtual environment. On an older Debian it is one over the /usr of a Debian trixie root:
# the wrapper enters a private mount namespace, binds that /usr over this machine's and executes the
# interpreter in place, so that its pid, signals, files and network are those of any other process.
#
# Environments are cached by the hash of what they are made from; a second clone of the repository reuses them.
set -eu

repo=$(cd "$(dirname "$0")/.." && pwd)
uv=$repo/.venv/bin/uv
lock=$repo/requirements/pipeline.txt
link=$repo/.pipeline/bin/python
cache=${LOCAL_GCP_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/taxi-vertex}
suite=trixie
packages=python3,python3-venv,python3-dev,g++,ca-certificates
needed_megabytes=6000

say() { printf 'pipeline environment: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
elapsed() { echo "$(($(date +%s) - started)) s"; }

started=$(date +%s)
hash=$(cat "$lock" "$0" | sha256sum | cut -c1-16)
home=$cache/pipeline-$hash

glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)
newest=$(printf '%s\n2.39\n' "${glibc:-0}" | sort -V | tail -n 1)
native=no
[ "$newest" = "$glibc" ] && native=yes

check_disk() {
    mkdir -p "$cache" || die "cannot write $cache; set LOCAL_GCP_CACHE_DIR to a folder that can be written"
    free=$(df -Pm "$cache" | awk 'NR == 2 {print $4}')
    [ "$free" -ge "$needed_megabytes" ] ||
        die "needs $needed_megabytes MB in $cache, only $free MB are free; free some or set LOCAL_GCP_CACHE_DIR"
}

check_root() {
    hint="use a machine with glibc >= 2.39 (Debian 13, Ubuntu 24.04), where none of this is needed, or docker compose up"
    [ -f /etc/debian_version ] || die "glibc ${glibc:-unknown} is older than 2.39 and this is not Debian: $hint"
    [ "$(id -u)" = 0 ] || die "glibc $glibc is older than 2.39 and making a Debian root needs root: run make as root, or $hint"
    command -v debootstrap >/dev/null || {
        say "installing debootstrap"
        { apt-get update -qq && apt-get install -y -qq debootstrap; } >"$cache/apt.log" 2>&1 ||
            die "could not install debootstrap, see $cache/apt.log; install it, then run this again"
    }
}

make_root() {
    say "1/3 Debian $suite root (about 650 MB, about 1 minute), glibc here is $glibc"
    check_root
    debootstrap --variant=minbase --include="$packages" "$suite" "$home/root" >"$cache/debootstrap.log" 2>&1 ||
        die "debootstrap failed, see $cache/debootstrap.log"
    say "1/3 done after $(elapsed)"
}

# enter COMMAND...: run it over the root's /usr.
enter() {
    if [ "$native" = yes ]; then "$@"; else
        unshare --mount -- /bin/sh -c 'mount --bind "$0" /usr && exec "$@"' "$home/root/usr" "$@"
    fi
}

make_venv() {
    say "2/3 locked packages (about 3 GB, about 1 minute)"
    python=3.13
    [ "$native" = yes ] || python=/usr/bin/python3
    cp "$uv" "$home/uv"
    export UV_COMPILE_BYTECODE=1 SSL_CERT_FILE="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
    { enter "$home/uv" venv -q --clear --python "$python" "$home/venv" &&
        enter "$home/uv" pip sync -q --python "$home/venv/bin/python" "$lock"; } 2>"$cache/packages.log" ||
        die "could not install requirements/pipeline.txt, see $cache/packages.log"
    rm "$home/uv"
    say "2/3 done after $(elapsed)"
}

write_wrapper() {
    if [ "$native" = yes ]; then
        enter_line='exec "'$home'/venv/bin/python" "$@"'
    else
        enter_line="exec unshare --mount -- /bin/sh -c 'mount --bind \"\$0\" /usr && exec \"\$@\"' \"$home/root/usr\" \"$home/venv/bin/python\" \"\$@\""
    fi
    printf '#!/bin/sh\n%s\n' "$enter_line" >"$home/python.new"
    chmod +x "$home/python.new"
    mv "$home/python.new" "$home/python"
}

if [ ! -f "$home/complete" ]; then
    check_disk
    rm -rf "$home"
    mkdir -p "$home"
    [ "$native" = yes ] || make_root
    make_venv
    write_wrapper
    say "3/3 checking that it imports"
    "$home/python" -c 'import tfx.v1' >"$cache/import.log" 2>&1 || die "tfx does not import, see $cache/import.log"
    touch "$home/complete"
    say "ready after $(elapsed), $(du -sm "$home" | cut -f1) MB in $home"
fi
mkdir -p "$(dirname "$link")"
ln -sfn "$home/python" "$link"
