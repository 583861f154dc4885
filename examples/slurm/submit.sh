#!/bin/bash
# Put a pair file on the queue and ask Slurm for workers:
#   submit.sh PAIRS [options of patchgrid submit] [-- options of sbatch]
#   submit.sh pairs.jsonl --sites z,mlp_out -- --array=0-15 --partition=gpu
set -euo pipefail

if (($# == 0)); then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
measure=()
while (($#)) && [[ $1 != -- ]]; do
    measure+=("$1")
    shift
done
if (($#)); then
    shift
fi

# In a shell of its own: sbatch hands its environment on to the job, and Slurm stores that.
(
    set -a
    # shellcheck source=patchgrid.env.example
    . "${PATCHGRID_ENV:-$HOME/.config/patchgrid/env}"
    patchgrid submit "${measure[@]}" --model "${PATCHGRID_MODEL:?}"
)
sbatch "$@" "$(dirname "$(readlink -f "$0")")/worker.sbatch"
