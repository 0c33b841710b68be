#!/usr/bin/env bash
# Runs every test. SQUANT_TEST_DATA names a folder with photographs and a trained network (README.md); unset, the tests
# that want them are skipped and named here.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
jobs=${2:-$(nproc)}
. scripts/mpi-env.sh
scripts/fetch-fashion-mnist.sh
ctest --test-dir "$build" --output-on-failure -j "$jobs" --no-tests=error ${CTEST_FLAGS:-}
skipped=$(grep -rhoE '^(\[  SKIPPED \] [A-Za-z0-9_/]+\.[A-Za-z0-9_/]+|SKIPPED: .*)' "$build/Testing/Temporary/LastTest.log" | sort -u || true)
if [ -n "$skipped" ]; then
  printf '\nSkipped (each says why in %s/Testing/Temporary/LastTest.log):\n%s\n' "$build" "$skipped"
fi
