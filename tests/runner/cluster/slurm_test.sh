#!/usr/bin/env bash
# The quickstart through Slurm: munged, slurmctld and slurmd of its own on this machine, a job from scripts/squant.sbatch
# that is told in the middle that its time is nearly up, is put back into the queue, and finishes.
#   slurm_test.sh BUILD        exit code 77 where it cannot run: not root, no Slurm (apt-get install slurm-wlm munge)
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
build=$(cd "${1:-build}" && pwd)
skip() { echo "SKIPPED: $*"; exit 77; }
fail() { echo "FAILED: $*"; for log in "$work"/*.log; do echo "--- $log"; tail -n 40 "$log"; done; exit 1; }
[ "$(id -u)" -eq 0 ] || skip "slurmctld and slurmd are started as root here"
for program in munged slurmctld slurmd sbatch scontrol; do
  command -v "$program" >/dev/null || skip "$program is not installed (apt-get install slurm-wlm munge)"
done

work=$(mktemp -d /tmp/squant-slurm-XXXXXX)
chmod 755 "$work"
pids=()
cleanup() {
  status=$?
  scancel --user=root >/dev/null 2>&1 || true
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  [ "$status" -ne 0 ] || rm -rf "$work"
}
trap cleanup EXIT

# --- Slurm, all of it in one folder
export SLURM_CONF=$work/slurm.conf
host=$(hostname -s)
port=$((20000 + $$ % 20000))
mkdir "$work"/{state,spool,munge}
chmod 700 "$work/munge"
dd if=/dev/urandom bs=1 count=1024 of="$work/munge/key" 2>/dev/null
chmod 400 "$work/munge/key"
cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host
SlurmUser=root
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CryptoType=crypto/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=$host CPUs=3 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
CONF
munged --foreground --force --num-threads=2 --key-file="$work/munge/key" --socket="$work/munge/socket" \
  --pid-file="$work/munge/pid" --log-file="$work/munge/log" --seed-file="$work/munge/seed" 2>"$work/munged.log" &
pids+=($!)
for _ in $(seq 50); do [ -S "$work/munge/socket" ] && break; sleep 0.2; done
[ -S "$work/munge/socket" ] || fail "munged does not run"
slurmctld -D -c 2>"$work/slurmctld.err.log" &
pids+=($!)
slurmd -D -c 2>"$work/slurmd.err.log" &
pids+=($!)
for _ in $(seq 120); do sinfo -h -o %T 2>/dev/null | grep -q idle && break; sleep 0.5; done
sinfo -h -o %T 2>/dev/null | grep -q idle || fail "no node became idle"
sinfo

# --- the job
. "$root/scripts/mpi-env.sh"
"$root/scripts/fetch-fashion-mnist.sh"
export SQUANT_BIN=$build/bin SQUANT_DB=$work/results.sqlite MPIRUN_FLAGS=--oversubscribe
db=$SQUANT_DB
cd "$work"
job=$(sbatch --parsable --ntasks=3 --time=30 --chdir="$work" "$root/scripts/squant.sbatch" \
  "$root/experiments/quickstart.json" --images 1000 --only mode=squant --progress none)
echo "job $job"
state() { scontrol show job "$job" -o | grep -o 'JobState=[A-Z]*' | cut -d= -f2; }
stored() { sqlite3 -readonly "$db" "select count(*) from tile" 2>/dev/null || echo 0; }
for _ in $(seq 600); do [ "$(stored)" -gt 3 ] && break; sleep 0.2; done
[ "$(stored)" -gt 3 ] || fail "the job stores nothing: $(state)"
scancel --batch --signal=USR1 "$job" # as --signal=B:USR1@120 does before the limit
for _ in $(seq 600); do grep -q 'exit code 3' "squant-$job.log" 2>/dev/null && break; sleep 0.2; done
grep -q 'exit code 3' "squant-$job.log" || fail "the job does not drain on SIGUSR1"
echo "drained after $(stored) tiles"
for _ in $(seq 100); do [ "$(state)" = PENDING ] && break; sleep 0.2; done
echo "requeued: $(state)"
# Slurm itself waits two minutes. Some seconds it has to wait: a start that follows the requeue at once is refused ("Job
# credential revoked") and ends the job.
sleep 10
scontrol update JobId="$job" StartTime=now 2>/dev/null || true
for _ in $(seq 1800); do
  case $(state) in PENDING | RUNNING | COMPLETING) sleep 0.5 ;; *) break ;; esac
done
[ "$(state)" = COMPLETED ] || fail "the job has not completed: $(state)"
cat "squant-$job.log"
left=$(sqlite3 -readonly "$db" "select count(*) from results where verdict = 'unfinished' or num_images <> 1000")
runs=$(sqlite3 -readonly "$db" "select count(*) from run")
[ "$left" -eq 0 ] || fail "$left jobs are not finished"
[ "$runs" -eq 2 ] || fail "$runs runs where two were expected"
[ "$(sqlite3 -readonly "$db" 'pragma integrity_check')" = ok ] || fail "integrity_check"
echo "passed: one job, drained and requeued, every cell finished"
