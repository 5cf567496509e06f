#!/bin/bash
# The same without Slurm: run this on each machine, with the first machine's name.
#   NODES=2 HEAD=gpu001 docs/scripts/torchrun-train.sh recipes/32k.yaml
set -euo pipefail

recipe=${1:-recipes/32k.yaml}

export OMP_NUM_THREADS=4

torchrun --nnodes "${NODES:-2}" --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint "${HEAD:?name of the first machine}:29500" \
  --max-restarts 0 -m trlt train "$recipe"
