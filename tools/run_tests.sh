#!/usr/bin/env bash
# Create an environment (once) and run the tests, with a worker for each core:
#   bash tools/run_tests.sh [--all] [options of pytest]
# Without --all, tests marked `slow` are left out; one test of each kind remains.
# Environment: FAMILY=onedl (the maintained forks) or openmmlab (the originals); VENV, the folder of
# the environment; PYTHON, its interpreter.
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

SELECTION=(-m "not slow")
OPTIONS=()
for option in "$@"; do
    if [ "$option" = --all ]; then
        SELECTION=()
    else
        OPTIONS+=("$option")
    fi
done

VENV=$(absolute "$VENV")
make_environment "$VENV" "$FAMILY"
cd "$ROOT"
# With one worker per core each has one thread, and so have the processes that tests start.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
unset PYTHONDONTWRITEBYTECODE # otherwise every process compiles the package
exec "$VENV/bin/python" -m pytest -n "$(count_cores)" --dist worksteal \
    ${SELECTION[@]+"${SELECTION[@]}"} ${OPTIONS[@]+"${OPTIONS[@]}"}
