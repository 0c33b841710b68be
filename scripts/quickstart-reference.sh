#!/usr/bin/env bash
# Computes experiments/quickstart/reference.json again: the quickstart's cells on the float32 simulation of quantization
# ("fake quantization", the published formulation), which the integer engine's results are then compared with.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
. scripts/mpi-env.sh
scripts/fetch-fashion-mnist.sh
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# The paper's values know neither network, so every verdict is "no reference".
mpirun -n 3 "$build/bin/squant-sweep" experiments/quickstart.json --db "$scratch/simulated.sqlite" \
  --set settings.engine=simulated --set reference=paper/iclr2022.json
sqlite3 "$scratch/simulated.sqlite" > experiments/quickstart/reference.json <<'SQL'
select replace(json_object(
  'source', 'fake quantization in float32 (engine "simulated") by this program: make quickstart-reference',
  'tolerance', 0.2,
  'values', json_group_array(json_object('model', model, 'bits', bits, 'mode', mode, 'top1', round(top1_pct, 2)))), '},{', '},' || char(10) || ' {')
from (select model, bits, mode, top1_pct from results where verdict <> 'failed' order by model, bits, mode);
SQL
printf 'experiments/quickstart/reference.json: %s values\n' "$(grep -o '"model"' experiments/quickstart/reference.json | wc -l)"
