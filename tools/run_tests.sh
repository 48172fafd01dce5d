#!/usr/bin/env bash
# Make an environment (once) and run the tests:
#   bash tools/run_tests.sh [options of pytest]
# Environment: FAMILY=onedl (the maintained forks) or openmmlab (the originals); VENV, the folder of
# the environment; PYTHON, the interpreter to build it on.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

FAMILY=${FAMILY:-onedl}
case $FAMILY in
onedl) VENV=${VENV:-$ROOT/.venv} ;;
openmmlab) VENV=${VENV:-$ROOT/.venv-openmmlab} ;;
*)
    echo "error: unknown FAMILY=$FAMILY; use onedl or openmmlab" >&2
    exit 2
    ;;
esac

VENV=$(absolute "$VENV")
make_environment "$VENV" "$FAMILY"
cd "$ROOT"
# Some tests start two processes, each with threads of its own.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$VENV/bin/python" -m pytest "$@"
