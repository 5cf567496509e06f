#!/bin/bash
# Two machines of 8 GPUs train one model; a process a GPU, all started by srun.
#   sbatch docs/scripts/slurm-train.sh recipes/32k.yaml
#SBATCH --job-name=trlt-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
set -euo pipefail

recipe=${1:-recipes/32k.yaml}

# Threads of torch in each process; the decoders have processes of their own (video.workers).
export OMP_NUM_THREADS=4
# The network card that the machines see each other by, where NCCL doesn't find it: export NCCL_SOCKET_IFNAME=ib0

# The plan; ends the job here when the recipe doesn't fit the GPUs.
env -u SLURM_NTASKS trlt train "$recipe" --dry-run --set "train.launch.processes=$((8 * SLURM_JOB_NUM_NODES))"

# One that fails ends all; the same command goes on from the last checkpoint.
srun --kill-on-bad-exit=1 trlt train "$recipe"
