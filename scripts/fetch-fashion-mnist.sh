#!/usr/bin/env bash
# Gets Fashion-MNIST where it is not installed yet, and verifies it. Debian's package dataset-fashion-mnist will do as well.
set -euo pipefail

usage() {
  cat <<EOF
Usage: scripts/fetch-fashion-mnist.sh [--print] [--force]
Puts Fashion-MNIST (30 MB, MIT licence, github.com/zalandoresearch/fashion-mnist) into the folder where
the data set "fashion-mnist" is looked for, unless it is there or in /usr/share/datasets already.
  --print  only print what would be got: URL, destination, checksum
  --force  get it even when the distribution's package is installed
EOF
}

folder=${XDG_CACHE_HOME:-$HOME/.cache}/squant-sweep/fashion-mnist
package=/usr/share/datasets/fashion-mnist
mirrors=(
  https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion
  http://fashion-mnist.s3-website.eu-central-1.amazonaws.com
)
# SHA-256 of the inflated files: Debian's package is compressed anew and holds the same bytes.
checksums="
5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b t10k-images-idx3-ubyte.gz
0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34 t10k-labels-idx1-ubyte.gz
c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888 train-images-idx3-ubyte.gz
bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9 train-labels-idx1-ubyte.gz
"

say() { printf 'fetch-fashion-mnist: %s\n' "$*" >&2; }

print_only=false
force=false
for argument in "$@"; do
  case "$argument" in
    --print) print_only=true ;;
    --force) force=true ;;
    -h | --help) usage; exit 0 ;;
    *) say "unknown option $argument"; usage >&2; exit 2 ;;
  esac
done

is_right() { [ -f "$1" ] && [ "$(gzip -dc "$1" 2>/dev/null | sha256sum | cut -d' ' -f1)" = "$2" ]; }

all_right_in() {
  local sum name
  while read -r sum name; do
    [ -z "$name" ] || is_right "$1/$name" "$sum" || return 1
  done <<<"$checksums"
}

download() {
  if command -v curl >/dev/null; then
    curl --fail --location --silent --show-error --connect-timeout 20 --output "$2" "$1"
  elif command -v wget >/dev/null; then
    wget --quiet --timeout=20 --tries=1 --output-document="$2" "$1"
  else
    say "neither curl nor wget is installed"
    return 1
  fi
}

# Under its name only when it is whole and right.
fetch() {
  local sum=$1 name=$2 mirror
  for mirror in "${mirrors[@]}"; do
    download "$mirror/$name" "$folder/$name.part" || continue
    if is_right "$folder/$name.part" "$sum"; then
      mv "$folder/$name.part" "$folder/$name"
      say "got $name"
      return 0
    fi
    say "$mirror/$name is not the published file"
  done
  rm -f "$folder/$name.part"
  say "cannot get $name: put it into $folder by hand, or run: apt install dataset-fashion-mnist"
  return 1
}

if $print_only; then
  while read -r sum name; do
    [ -z "$name" ] || printf '%s/%s -> %s/%s (SHA-256 inflated %s)\n' "${mirrors[0]}" "$name" "$folder" "$name" "$sum"
  done <<<"$checksums"
  exit 0
fi
if ! $force && all_right_in "$package"; then exit 0; fi
mkdir -p "$folder"
while read -r sum name; do
  [ -z "$name" ] || is_right "$folder/$name" "$sum" || fetch "$sum" "$name"
done <<<"$checksums"
