#!/usr/bin/env bash
# The main job on real data: both quickstart networks, 42 cells, the 10,000 test images of Fashion-MNIST.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
. scripts/mpi-env.sh
scripts/fetch-fashion-mnist.sh
printf '\n$ mpirun -n 3 %s/bin/squant-sweep experiments/quickstart.json\n' "$build"
status=0
mpirun -n 3 "$build/bin/squant-sweep" experiments/quickstart.json || status=$?
if [ "$status" -ne 0 ]; then
  printf 'demo: squant-sweep ended with exit code %d (docs/running.md says what it means)\n' "$status" >&2
  exit "$status"
fi
cat <<TEXT

What it left is in results.sqlite. Ask it:
  $build/bin/squant-results show --where bits=w3
  sqlite3 results.sqlite "select model, bits, mode, top1_pct, verdict from results order by top1_pct desc limit 5"
TEXT
