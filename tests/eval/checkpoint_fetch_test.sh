#!/usr/bin/env bash
# scripts/fetch-models.sh, as far as it goes without a network.
set -euo pipefail
script=$1/scripts/fetch-models.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
die() { echo "FAILED: $*" >&2; exit 1; }

"$script" --print --dir "$folder" >"$folder/printed"
[ "$(grep -c '^  SHA-1 ' "$folder/printed")" = 6 ] || die "--print does not list six checkpoints"
grep -q "^  to    $folder/resnet18-0982-0126861b.pth$" "$folder/printed" || die "--print does not say where resnet18 goes"
"$script" --print resnet50 | grep 'v0.0.329/resnet50-0633-b00d1c8e.pth.zip$' >/dev/null || die "--print does not say where from"

status=0
"$script" --print no_such_model 2>"$folder/error" || status=$?
[ "$status" = 2 ] && grep -q 'no such model: no_such_model; known are resnet18' "$folder/error" || die "an unknown model"

# Other weights under the published name, and a download that is damaged: both are told, neither is taken.
echo other >"$folder/resnet50-0633-b00d1c8e.pth"
cp "$1/tests/data/checkpoints/module_old_deflated.pth.zip" "$folder/resnet18-0982-0126861b.pth.zip"
status=0
"$script" --dir "$folder" resnet50 resnet18 2>"$folder/error" || status=$?
[ "$status" = 1 ] || die "exit code $status for files that are not the published ones"
grep -q 'resnet50-0633-b00d1c8e.pth is not the published file' "$folder/error" || die "other weights are not told"
[ "$(cat "$folder/resnet50-0633-b00d1c8e.pth")" = other ] || die "a user's file was overwritten"
[ ! -e "$folder/resnet18-0982-0126861b.pth" ] || die "a damaged download was taken"
