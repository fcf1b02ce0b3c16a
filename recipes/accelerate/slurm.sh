#!/bin/bash
# sbatch recipes/accelerate/slurm.sh RECIPE [--field value ...]
# Two machines with eight GPUs each. The job can be killed and queued again: the recipe's resume_from_checkpoint goes on.
#SBATCH --job-name=longspan
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
set -eu
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=4
srun torchrun \
    --nnodes "$SLURM_NNODES" --nproc_per_node 8 \
    --rdzv_backend c10d --rdzv_id "$SLURM_JOB_ID" --rdzv_endpoint "$head:29500" \
    -m longspan pretrain "$@"
