#!/usr/bin/env bash
# Gets what the build needs: distribution packages (scripts/packages.txt) and LibTorch (a PyPI wheel, once, into the
# user's cache folder). Quick when everything is there. Environment:
#   CMAKE_PREFIX_PATH   a LibTorch of your own (a folder with include/torch and lib/): nothing is downloaded
#   XDG_CACHE_HOME      where the cache lies (default ~/.cache)
set -euo pipefail
cd "$(dirname "$0")/.."
torch_version=2.11.0
# The parts of CUDA's runtime that libtorch_cpu of this wheel names, as its metadata pins them.
torch_parts=("torch==$torch_version" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

read_packages() { sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' scripts/packages.txt; }

is_installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }

missing_packages() { # prints required ones, and with "?" the optional ones that are missing
  local name
  while read -r name; do
    is_installed "${name%\?}" || printf '%s\n' "$name"
  done < <(read_packages)
}

install_packages() {
  local missing required optional=() available=() name
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -eq 0 ] && return
  required=()
  for name in "${missing[@]}"; do
    case "$name" in *\?) optional+=("${name%\?}") ;; *) required+=("$name") ;; esac
  done
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ ${#required[@]} -gt 0 ] && [ -t 0 ]; }; }; then
      as_root=(sudo)
    elif [ ${#required[@]} -eq 0 ]; then
      say "going on without ${optional[*]} (optional; root may install them)"
      return
    else
      die "these packages are missing, and installing them takes root:
  sudo apt-get install ${required[*]}
Then run make again. (Optional: ${optional[*]:-none})"
    fi
  fi
  say "installing ${required[*]} ${optional[*]}"
  "${as_root[@]}" apt-get update -qq || say "apt-get update failed; trying with the lists that are there"
  for name in "${optional[@]}"; do
    if [ -n "$(apt-cache policy "$name" 2>/dev/null | grep 'Candidate: [^(]')" ]; then available+=("$name"); else
      say "$name is not in this distribution: going on without it"; fi
  done
  if [ ${#required[@]} -gt 0 ] || [ ${#available[@]} -gt 0 ]; then
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      "${required[@]}" "${available[@]}" >/dev/null || die "apt-get could not install them; its message is above"
  fi
}

has_own_torch() {
  local folder
  for folder in ${CMAKE_PREFIX_PATH//[:;]/ }; do
    [ -e "$folder/include/torch/csrc/api/include/torch/torch.h" ] && return 0
    [ -e "$folder/torch/include/torch/csrc/api/include/torch/torch.h" ] && return 0
  done
  return 1
}

install_torch() {
  CMAKE_PREFIX_PATH="${CMAKE_PREFIX_PATH:-}"
  has_own_torch && return
  local cache="${XDG_CACHE_HOME:-$HOME/.cache}/squant-sweep"
  local target="$cache/libtorch-$torch_version"
  [ -e "$target/torch/lib/libtorch_cpu.so" ] && return
  mkdir -p "$cache"
  exec 9>"$cache/setup.lock"
  flock 9 # two builds at once: the second waits and finds it done
  [ -e "$target/torch/lib/libtorch_cpu.so" ] && return
  python3 -m pip --version >/dev/null 2>&1 || die "python3 has no pip, which fetches LibTorch: install python3-pip"
  local free_mb
  free_mb=$(df -Pm "$cache" | awk 'NR == 2 {print $4}')
  [ "$free_mb" -ge 2500 ] || die "LibTorch needs 2.5 GB in $cache, which has $free_mb MB free (XDG_CACHE_HOME moves it)"
  say "fetching LibTorch $torch_version into $target (once, about 550 MB)"
  local partial="$target.partial.$$"
  rm -rf "$target".partial.*
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-cache-dir --no-compile \
    --no-deps --only-binary=:all: --target "$partial" "${torch_parts[@]}" || {
    rm -rf "$partial"
    die "pip could not fetch ${torch_parts[*]}. Without internet: unpack a LibTorch $torch_version and name it in CMAKE_PREFIX_PATH."
  }
  [ -e "$partial/torch/lib/libtorch_cpu.so" ] || die "the wheel has no torch/lib/libtorch_cpu.so"
  mv "$partial" "$target" # in one step: a half-unpacked LibTorch is never taken for a whole one
}

if command -v dpkg-query >/dev/null; then
  install_packages
else
  say "no dpkg here: install the equivalents of scripts/packages.txt yourself"
fi
install_torch
