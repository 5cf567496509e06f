#!/bin/bash
# Any number of GPUs probe one pool; each takes samples as it is ready, through the run's folder, which all must see.
#   sbatch docs/scripts/slurm-probe.sh runs/32k/samples recipes/32k.yaml runs/32k/probe
#SBATCH --job-name=trlt-probe
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
set -euo pipefail

data=${1:-runs/32k/samples}
recipe=${2:-recipes/32k.yaml}
out=${3:-runs/32k/probe}

export OMP_NUM_THREADS=4

# Without --kill-on-bad-exit: the others finish what one that was lost had begun.
srun trlt probe --data "$data" -n 8 --recipe "$recipe" --out "$out"
trlt select --probe "$out" --recipe "$recipe" --out "$out/train.jsonl"
