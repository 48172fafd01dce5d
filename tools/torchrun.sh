#!/usr/bin/env bash
# Used by dist_train.sh and dist_test.sh: torchrun.sh NPROC SCRIPT [arguments of the script]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

NPROC=$1
PYTHON=${PYTHON:-python}
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"

# Processes times threads must not exceed the cores, or they slow each other down. A single process
# takes all cores by itself.
if [ "$NPROC" -gt 1 ]; then
    THREADS=$(($(count_cores) / NPROC))
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((THREADS > 0 ? THREADS : 1))}
    export MKL_NUM_THREADS=${MKL_NUM_THREADS:-$OMP_NUM_THREADS}
fi

NNODES=${NNODES:-1}
if [ "$NNODES" -eq 1 ] && [ -z "${PORT:-}" ]; then
    # Port 0: torchrun takes a free port, so that two runs on a machine do not collide.
    RENDEZVOUS=(--rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:0)
else
    RENDEZVOUS=(--node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}"
        --master_port="${PORT:-29500}")
fi
exec "$PYTHON" -m torch.distributed.run --nnodes="$NNODES" --nproc_per_node="$NPROC" \
    "${RENDEZVOUS[@]}" "${@:2}"
