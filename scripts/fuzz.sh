#!/usr/bin/env bash
# Builds the libFuzzer harnesses of tests/fuzz with clang, AddressSanitizer and UndefinedBehaviorSanitizer; runs each.
# Usage: scripts/fuzz.sh [SECONDS_EACH] [NAME...]   (default: 60 seconds, every harness)
# The corpus grows in build-fuzz/fuzz/corpus/NAME; an input at fault is left in build-fuzz/fuzz/findings/.
set -euo pipefail
cd "$(dirname "$0")/.."
build='build-fuzz'
seconds=${1:-60}
[ $# -eq 0 ] || shift

case "$seconds" in '' | *[!0-9]*) echo "usage: scripts/fuzz.sh [SECONDS_EACH] [NAME...]" >&2; exit 2 ;; esac
if ! command -v clang++ >/dev/null; then
  echo "fuzz: clang++ is not installed: apt-get install clang libclang-rt-dev libomp-dev" >&2
  exit 1
fi
if [ ! -e $build/build.ninja ]; then
  cmake -S . -B $build -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DSQUANT_FUZZ=ON \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSQUANT_SANITIZE=address,undefined -DSQUANT_CUDA=OFF -DSQUANT_BENCH=OFF
fi
names=("$@")
targets=("${names[@]/#/fuzz_}")
[ ${#names[@]} -gt 0 ] || targets=(squant_fuzzers)
cmake --build $build --target "${targets[@]}" -j "$(nproc)"
if [ ${#names[@]} -eq 0 ]; then
  for program in "$build"/fuzz/fuzz_*; do names+=("${program##*/fuzz_}"); done
fi
mkdir -p $build/fuzz/findings
failed=()
for name in "${names[@]}"; do
  echo "fuzz: $name for $seconds s"
  $build/fuzz/fuzz_"$name" $build/fuzz/corpus/"$name" -max_total_time="$seconds" -max_len=16384 -verbosity=0 \
    -print_final_stats=1 -artifact_prefix=$build/fuzz/findings/"$name"- || failed+=("$name")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "fuzz: findings in ${failed[*]}; the inputs are in $build/fuzz/findings/." >&2
  echo "fuzz: once fixed, they belong into tests/fuzz/seeds/." >&2
  exit 1
fi
