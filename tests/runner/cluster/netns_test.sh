#!/usr/bin/env bash
# Two "hosts", network namespaces with a cable between them, which is cut in the middle of a sweep: the sweep goes on
# without the lost host or ends; the workers beyond the cut end themselves; the same command on one host finishes.
#   netns_test.sh BUILD MPIRUN        exit code 77 where namespaces are not permitted
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
build=$(cd "${1:-build}" && pwd)
mpirun=${2:-$(command -v mpirun)}
skip() { echo "SKIPPED: $*"; exit 77; }
fail() { echo "FAILED: $*"; tail -n 60 "$work"/*.log; exit 1; }
command -v ip >/dev/null || skip "ip is not installed (apt-get install iproute2)"
export SQUANT_NETNS_PREFIX=squant$$
head=${SQUANT_NETNS_PREFIX}head
far=${SQUANT_NETNS_PREFIX}far
ip netns add "$head" 2>/dev/null || skip "no right to make network namespaces"
work=$(mktemp -d /tmp/squant-netns-XXXXXX)
cleanup() {
  status=$?
  for name in "$head" "$far"; do
    for pid in $(ip netns pids "$name" 2>/dev/null); do kill -9 "$pid" 2>/dev/null || true; done
    ip netns del "$name" 2>/dev/null || true
  done
  [ "$status" -ne 0 ] || rm -rf "$work"
}
trap cleanup EXIT
ip netns add "$far"
ip link add veth-head netns "$head" type veth peer name veth-far netns "$far" || skip "no virtual cables (veth) here"
ip -n "$head" addr add 10.77.0.1/24 dev veth-head
ip -n "$far" addr add 10.77.0.2/24 dev veth-far
for end in head far; do
  ip -n "$SQUANT_NETNS_PREFIX$end" link set lo up
  ip -n "$SQUANT_NETNS_PREFIX$end" link set "veth-$end" up
done

. "$root/scripts/mpi-env.sh"
"$root/scripts/fetch-fashion-mnist.sh"
db=$work/results.sqlite
sweep=("$build/bin/squant-sweep" "$root/experiments/quickstart.json" --db "$db" --images 500 --set dataset.chunk=25
  --only mode=squant --where bits=w8a8,w4a4,w3 --threads 1 --worker-timeout 4 --progress none)
stored() { sqlite3 -readonly "$db" "select count(*) from tile" 2>/dev/null || echo 0; }
far_workers() { for pid in $(ip netns pids "$far"); do grep -ls squant-sweep "/proc/$pid/cmdline" || true; done; }

ip netns exec "$head" unshare --uts sh -c 'hostname head && exec "$@"' sh \
  "$mpirun" --enable-recovery --bind-to none --mca plm rsh --mca plm_rsh_agent "$here/netns_agent.sh" \
  --mca btl self,vader,tcp --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
  --host head:2,far:2 -n 4 "${sweep[@]}" >"$work/cut.log" 2>&1 &
job=$!
for _ in $(seq 600); do [ "$(stored)" -gt 5 ] && break; kill -0 $job 2>/dev/null || fail "it ended too early"; sleep 0.1; done
[ "$(stored)" -gt 5 ] || fail "nothing is stored"
[ -n "$(far_workers)" ] || fail "no worker runs on the far host"
ip -n "$far" link set veth-far down
before=$(stored)
echo "the cable is cut after $before tiles"
ended() { [ -n "$(sqlite3 -readonly "$db" "select 1 from run where finished_at is not null" 2>/dev/null)" ]; }
for _ in $(seq 3000); do kill -0 $job 2>/dev/null || break; ended && break; sleep 0.1; done
for _ in $(seq 300); do kill -0 $job 2>/dev/null || break; sleep 0.1; done
if kill -0 $job 2>/dev/null; then
  ended || fail "the sweep does not end"
  echo "the sweep has ended; mpirun waits for the lost host and is killed"
  for pid in $(ip netns pids "$head"); do kill -9 "$pid" 2>/dev/null || true; done
fi
code=0
wait $job || code=$?
unfinished=$(sqlite3 -readonly "$db" "select count(*) from results where num_images <> 500")
echo "mpirun ended with code $code, $(stored) tiles stored, $unfinished of 6 cells unfinished"
grep -h "is lost" "$work/cut.log" || echo "(no worker was given up before the end)"
for _ in $(seq 400); do [ -z "$(far_workers)" ] && break; sleep 0.1; done
[ -z "$(far_workers)" ] || fail "workers beyond the cut still run"

"${sweep[@]}" >"$work/resume.log" 2>&1 || [ $? -eq 1 ] || fail "the same command does not finish"
unfinished=$(sqlite3 -readonly "$db" "select count(*) from results where num_images <> 500")
[ "$unfinished" -eq 0 ] || fail "$unfinished cells are unfinished"
twice=$(sqlite3 -readonly "$db" "select count(*) from tile a join tile b on a.evaluation_id = b.evaluation_id and
  a.first < b.first and b.first < a.first + a.count")
[ "$twice" -eq 0 ] || fail "images are counted twice"
[ "$(sqlite3 -readonly "$db" 'pragma integrity_check')" = ok ] || fail "integrity_check"
echo "passed: finished after the cut, nothing counted twice"
