#!/usr/bin/env bash
# Train in NPROC processes, one per accelerator or on the CPU:
#   bash tools/dist_train.sh CONFIG NPROC [options of tools/train.py]
# Environment: PYTHON, OMP_NUM_THREADS; for several nodes NNODES, NODE_RANK, MASTER_ADDR, PORT.
set -euo pipefail

if [ "$#" -lt 2 ] || ! [[ $2 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: bash tools/dist_train.sh CONFIG NPROC [options of tools/train.py];" \
        "NPROC is the number of processes, got '${2:-}'" >&2
    exit 2
fi
CONFIG=$1
NPROC=$2
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec bash "$TOOLS/torchrun.sh" "$NPROC" "$TOOLS/train.py" "$CONFIG" --launcher pytorch "${@:3}"
