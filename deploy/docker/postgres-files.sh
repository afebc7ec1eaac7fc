#!/bin/sh
# Copy the files that a server needs from Debian's packages to a folder: postgres-files.sh FOLDER.
# The packages depend on LLVM, to compile queries, and on Perl, to manage clusters: four fifths of their size.
set -eu

server=/usr/lib/postgresql/17
mkdir -p "$1"
rm -rf "$server"/lib/bitcode "$server"/lib/llvmjit*
cp -a --parents "$server"/lib /usr/share/postgresql/17 /usr/share/zoneinfo "$1"
for program in initdb pg_ctl pg_dump pg_isready postgres psql; do
    cp -a --parents "$server/bin/$program" "$1"
done
# /lib is a link to /usr/lib, in this image and in the one that gets the files.
ldd "$server"/bin/* "$server"/lib/*.so | awk '$3 ~ /^\// {print $3}' | sed 's#^/lib/#/usr/lib/#' | sort -u |
    xargs cp -L --parents -t "$1"
