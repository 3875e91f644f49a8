#!/bin/sh
# Put lists of revoked certificates where Erlang looks for them: hash_revocations.sh FILE FOLDER
# writes each list of FILE (PEM, one after the other) as FOLDER/<hash of the issuer's name>.r0. Needs awk and openssl.
set -eu
fail() { echo "hash_revocations.sh: $1" >&2; exit 1; }
[ $# = 2 ] || fail "write hash_revocations.sh FILE FOLDER"
[ -r "$1" ] || fail "cannot read $1"
[ -d "$2" ] || fail "there is no folder $2; make it, for the user of RabbitMQ to read"
parts=$(mktemp -d "$2/.new-XXXXXX") || fail "cannot write to $2"
trap 'rm -rf "$parts"' EXIT
awk -v parts="$parts" '/^-----BEGIN X509 CRL-----/ { n++ } n { print > (parts "/" n ".pem") }' "$1"
[ -e "$parts/1.pem" ] || fail "no list in PEM in $1; of one in DER, openssl crl -inform DER makes PEM"
for list in "$parts"/*.pem; do
  hash=$(openssl crl -in "$list" -noout -hash) || fail "$1 holds what is no list"
  # Erlang heeds one list of an issuer, the last: with two, who is on the other would be let in.
  [ ! -e "$parts/$hash.r0" ] || fail "two lists of one issuer's name in $1; give each CA a name of its own"
  mv "$list" "$parts/$hash.r0"
done
chmod 644 "$parts"/*.r0
for list in "$parts"/*.r0; do
  mv "$list" "$2"
  name=$(basename "$list" .r0)
  rm -f "$2/$name".r[1-9]*
done
