#!/bin/sh
# A release from a build server to the fleet, in waves: upload, propose, wait for a second person, start, wait for the end.
# Needs curl and jq. URL and TOKEN say where and who; PACKAGE is the package's id.
#   URL=https://tms.example.com TOKEN=... PACKAGE=1 sh release.sh 2.4.0 linux-arm64 pay-2.4.0.bin 'state = active'
set -eu
version=$1 platform=$2 file=$3 filter=$4
api() { curl --fail-with-body -sS -H "Authorization: Bearer $TOKEN" "$@"; }

release=$(api "$URL/api/v1/releases/" -F "package=$PACKAGE" -F "version=$version" -F "platform=$platform" -F "artifact=@$file" | jq .id)
wanted=$(jq -n --arg version "$version" --arg filter "$filter" --argjson release "$release" '{
  name: ("Payment " + $version), kind: "install", filter: $filter, arguments: {release: $release},
  settings: {canary: "", waves: [1, 10, 100], soak_minutes: 60, conditions: {no_open_batch: false, idle: true}}}')
campaign=$(api "$URL/api/v1/campaigns/" -H "Content-Type: application/json" -d "$wanted" | jq .id)
echo "campaign $campaign is proposed: $URL/admin/campaigns/$campaign/"

until api "$URL/api/v1/campaigns/$campaign/" | jq -e '.approved_by != ""' >/dev/null; do sleep "${EVERY:-30}"; done
api -X POST "$URL/api/v1/campaigns/$campaign/start/" | jq -r '"started: " + .name'
while :; do
  state=$(api "$URL/api/v1/campaigns/$campaign/" | jq -r .state)
  case $state in
    running) sleep "${EVERY:-30}" ;;
    done) echo "every terminal has its outcome"; exit 0 ;;
    *) echo "it is $state"; api "$URL/api/v1/campaigns/$campaign/" | jq '.waves[] | {number, state, states, unmet}'; exit 1 ;;
  esac
done
