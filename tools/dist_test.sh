#!/usr/bin/env bash
# Evaluate in NPROC processes, one per accelerator or on the CPU:
#   bash tools/dist_test.sh CONFIG CHECKPOINT NPROC [options of tools/test.py]
# Environment: as in tools/dist_train.sh.
set -euo pipefail

if [ "$#" -lt 3 ] || ! [[ $3 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: bash tools/dist_test.sh CONFIG CHECKPOINT NPROC [options of tools/test.py];" \
        "NPROC is the number of processes, got '${3:-}'" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
NPROC=$3
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec bash "$TOOLS/torchrun.sh" "$NPROC" "$TOOLS/test.py" "$CONFIG" "$CHECKPOINT" \
    --launcher pytorch "${@:4}"
