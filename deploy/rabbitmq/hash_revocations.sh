#!/bin/sh
# Put each list of revoked certificates where Erlang looks for it: hash_revocations.sh FILE FOLDER
# writes those of FILE (PEM, one after the other) as FOLDER/<hash of the issuer's name>.r0, .r1, ... Needs awk and openssl.
set -eu
[ $# = 2 ] || { echo "hash_revocations.sh FILE FOLDER" >&2; exit 2; }
parts=$(mktemp -d "$2/.new-XXXXXX")
trap 'rm -rf "$parts"' EXIT
awk -v parts="$parts" '/^-----BEGIN X509 CRL-----/ { n++ } n { print > (parts "/" n ".pem") }' "$1"
for list in "$parts"/*.pem; do
  hash=$(openssl crl -in "$list" -noout -hash)
  number=0
  while [ -e "$parts/$hash.r$number" ]; do number=$((number + 1)); done
  mv "$list" "$parts/$hash.r$number"
done
chmod 644 "$parts"/*.r*
mv "$parts"/*.r* "$2"
