#!/usr/bin/env bash
# usage: install_test.sh BUILD_DIR CONSUMER_DIR CXX
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cmake --install "$1" --prefix "$scratch/prefix" >/dev/null
cmake -S "$2" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCMAKE_CXX_COMPILER="$3" >/dev/null
cmake --build "$scratch/build" >/dev/null
printed=$("$scratch/build/consumer")
[ "$printed" = "-2 0 1 1" ] || { echo "the consumer printed '$printed', expected '-2 0 1 1'"; exit 1; }
"$scratch/prefix/bin/squant-sweep" --version
"$scratch/prefix/bin/squant-results" --version
"$scratch/prefix/bin/squant-quantize" --version
for program in squant-sweep squant-results squant-quantize; do
  for file in man/man1/$program.1 bash-completion/completions/$program zsh/site-functions/_$program; do
    [ -s "$scratch/prefix/share/$file" ] || { echo "share/$file is not installed"; exit 1; }
  done
done
