#!/usr/bin/env bash
# A sweep over real photographs with three ranks: killed in the middle and continued, it gives the digests of an
# undisturbed one; and a second sweep decodes nothing. usage: photographs_sweep_test.sh BUILD_DIR SOURCE_DIR MPIEXEC
set -euo pipefail
build=$1 source=$2 mpiexec=$3
if [ -z "${SQUANT_TEST_DATA:-}" ]; then
  echo "SKIPPED: set SQUANT_TEST_DATA to the folder that README.md describes"
  exit 77
fi
. "$source/scripts/mpi-env.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export IMAGENET_VAL="$SQUANT_TEST_DATA/imagenet-sample" SQUANT_MODELS="$SQUANT_TEST_DATA/models"
fail() { echo "FAILED: $*"; exit 1; }

sweep() { # DATABASE CACHE LOG: three ranks, w8a8 and w4a4, 10 images a tile
  "$mpiexec" -n 3 "$build/bin/squant-sweep" "$source/experiments/efficientnet_lite0.json" --db "$1" \
    --where bits=w8a8,w4a4 --set dataset.chunk=10 --set "dataset.cache=\"$2\"" --quiet >"$3" 2>&1
}
digests() { sqlite3 "$1" "select bits, mode, num_images, num_top1, num_top5, digest from results order by bits, mode"; }
num_tiles() { sqlite3 "$1" "select count(*) from tile" 2>/dev/null || echo 0; }

sweep "$scratch/whole.sqlite" "$scratch/cache" "$scratch/whole.log" || fail "the sweep: $(cat "$scratch/whole.log")"
expected=$(digests "$scratch/whole.sqlite")
[ "$(grep -c '|250|' <<<"$expected")" -eq 2 ] || fail "expected two jobs of 250 images, got: $expected"

# Killed as soon as a few tiles are stored.
setsid bash -c "$(declare -f sweep); mpiexec='$mpiexec' build='$build' source='$source'
  sweep '$scratch/killed.sqlite' '$scratch/cache2' '$scratch/killed.log'" &
group=$!
for _ in $(seq 6000); do
  [ "$(num_tiles "$scratch/killed.sqlite")" -ge 4 ] && break
  sleep 0.05
done
kill -KILL -- "-$group" 2>/dev/null || true
wait "$group" 2>/dev/null || true
pkill -KILL -f "$scratch/killed.sqlite" 2>/dev/null || true # ranks have sessions of their own
before=$(num_tiles "$scratch/killed.sqlite")
[ "$before" -ge 4 ] && [ "$before" -lt 50 ] || fail "killed with $before tiles: not in the middle"
[ "$(sqlite3 "$scratch/killed.sqlite" 'pragma integrity_check')" = ok ] || fail "the database of the killed sweep is damaged"

sweep "$scratch/killed.sqlite" "$scratch/cache2" "$scratch/resumed.log" || fail "resuming: $(cat "$scratch/resumed.log")"
[ "$(digests "$scratch/killed.sqlite")" = "$expected" ] || fail "after the kill: $(digests "$scratch/killed.sqlite") expected $expected"

# Another database, the same cache: nothing is decoded, so nothing is written to it.
touched=$(find "$scratch/cache" -type f -printf '%T@ %s\n' | sort)
sweep "$scratch/second.sqlite" "$scratch/cache" "$scratch/second.log" || fail "second sweep: $(cat "$scratch/second.log")"
[ "$(digests "$scratch/second.sqlite")" = "$expected" ] || fail "from the cache: $(digests "$scratch/second.sqlite")"
[ "$(find "$scratch/cache" -type f -printf '%T@ %s\n' | sort)" = "$touched" ] || fail "the second sweep wrote to the cache"
echo "killed at $before of 50 tiles, resumed, and repeated from the cache: same digests"
