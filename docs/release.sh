#!/bin/sh
# A release from a build server to the fleet, in waves: upload, wait for somebody who approves it, propose a campaign, wait for
# somebody who agrees, start, wait for the end. Needs curl and jq. URL and TOKEN say where and who; PACKAGE is the package's id;
# BILL, where given, is the release's bill of materials (CycloneDX, JSON).
#   URL=https://tms.example.com TOKEN=... PACKAGE=1 sh release.sh 2.4.0 linux-arm64 pay-2.4.0.bin 'state = active'
# Ends with 0 when every terminal has its outcome, with 1 where the campaign stopped, was cancelled, or the server refused.
set -eu
version=$1 platform=$2 file=$3 filter=$4
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# Ask the server; where it refuses, say what it said and end.
api() {
  if ! curl --fail-with-body -sS -H "Authorization: Bearer $TOKEN" -o "$answer" "$@"; then
    echo "the server refused: $(jq -r '.detail // (.errors | tostring)' "$answer" 2>/dev/null || cat "$answer")" >&2
    exit 1
  fi
}
told() { jq -er "$1" "$answer"; }
json() { api -H "Content-Type: application/json" "$@"; }

api "$URL/api/v1/releases/" -F "package=$PACKAGE" -F "version=$version" -F "platform=$platform" -F "artifact=@$file"
release=$(told .id)
if [ -n "${BILL:-}" ]; then json "$URL/api/v1/releases/$release/bill-of-materials/" -d "@$BILL"; fi
echo "release $release is uploaded; somebody else approves it: $URL/admin/releases/$release/"
while api "$URL/api/v1/releases/$release/"; do
  case $(told .state)/$(told '.listed_at != null' || true) in
    withdrawn/* | deprecated/*) echo "it is $(told .state): $(told .state_reason)"; exit 1 ;;
    approved/true) break ;;
  esac
  sleep "${EVERY:-30}"
done

jq -n --arg version "$version" --arg filter "$filter" --argjson release "$release" '{
  name: ("Payment " + $version), kind: "install", filter: $filter, arguments: {release: $release},
  settings: {waves: [1, 10, 100], soak_minutes: 60, conditions: {idle: true}}}' |
  { json "$URL/api/v1/campaigns/" -d @-; cp "$answer" "$answer.made"; }
campaign=$(jq -er .id "$answer.made"); rm -f "$answer.made"
echo "campaign $campaign is proposed; somebody else agrees: $URL/admin/campaigns/$campaign/"
while api "$URL/api/v1/campaigns/$campaign/"; do
  if [ "$(told .state)" != proposed ]; then echo "it is $(told .state)"; exit 1; fi
  if told '.approved_by != null and .approved_by != ""' >/dev/null; then break; fi
  sleep "${EVERY:-30}"
done

api -X POST "$URL/api/v1/campaigns/$campaign/start/"
while api "$URL/api/v1/campaigns/$campaign/"; do
  case $(told .state) in
    running) sleep "${EVERY:-30}" ;;
    done) echo "every terminal has its outcome"; exit 0 ;;
    *) echo "it is $(told .state)"; told '.waves[] | {number, state, states, unmet}'; exit 1 ;;
  esac
done
