# Functions of quickstart.sh, run_tests.sh and torchrun.sh; source this file.
#   make_environment DIR FAMILY   create a virtual environment with this package, once
#   absolute PATH                 print an absolute path
#   count_cores                   print the number of cores that this process may use
#   hold DIR FD VARIABLE          keep other scripts out of a folder; FD is a number such as 8
# Environment: PYTHON, the interpreter of the environment (3.10 to 3.13).

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/tools/logged.sh"
# Tested versions. Newer CPU builds of torch (2.13) break `import torchvision`.
TORCH=(torch==2.11.0 torchvision==0.26.0)

absolute() {
    case $1 in
    /*) echo "$1" ;;
    *) echo "$PWD/$1" ;;
    esac
}

count_cores() {
    # nproc prints OMP_NUM_THREADS if it is set.
    env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || getconf _NPROCESSORS_ONLN
}

find_python() {
    local candidate
    local candidates=(python3 python3.13 python3.12 python3.11 python3.10)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
            2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "error: no Python 3.10 to 3.13 found (looked for ${PYTHON:-python3 and python3.10 to" \
        "python3.13}); install one or set PYTHON=/path/to/python3" >&2
    return 1
}

# The lock ends with this script and all that it started, or with `exec FD>&-`.
hold() {
    local folder=$1 fd=$2 variable=$3
    mkdir -p "$(dirname "$folder")"
    eval "exec $fd>>\"\$folder.lock\""
    if command -v flock >/dev/null && ! flock --nonblock "$fd"; then
        echo "error: $(cat "$folder.lock") works in $folder; wait until it ends, or set $variable" \
            "to another folder" >&2
        return 1
    fi
    echo "$(basename "$0"), process $$," >"$folder.lock"
}

make_environment() {
    local folder=$1 family=$2 log=$1/install.log python stamp
    stamp="$family ${TORCH[*]} $(cksum <"$ROOT/setup.py") $ROOT"
    # An environment does not work without the interpreter that it was created with.
    if [ "$(cat "$folder/.made-for" 2>/dev/null)" = "$stamp" ] &&
        "$folder/bin/python" -c '' 2>/dev/null; then
        echo "== environment: $folder (there already)"
        return
    fi
    if [ -e "$folder" ] && [ ! -f "$folder/.made-for" ]; then
        echo "error: $folder is there and was not made by this script; remove it, or set VENV to" \
            "another folder" >&2
        return 1
    fi
    python=$(find_python)
    hold "$folder" 9 VENV
    echo "== environment: $folder ($("$python" --version), $family); a few minutes, about 5 GB;" \
        "log: $log"
    mkdir -p "$folder"
    # If anything below is interrupted, the environment is recreated the next time.
    echo unfinished >"$folder/.made-for"
    find "$folder/" -mindepth 1 -maxdepth 1 ! -name .made-for -exec rm -rf {} +
    if ! "$python" -m venv "$folder"; then
        echo "error: $python cannot make a virtual environment; install its venv module" \
            "(Debian: apt-get install python3-venv)" >&2
        return 1
    fi
    export PIP_DISABLE_PIP_VERSION_CHECK=1
    logged "$log" "$folder/bin/python" -m pip install "${TORCH[@]}"
    logged "$log" "$folder/bin/python" -m pip install --editable "$ROOT[$family,quickstart,export,dev]"
    echo "$stamp" >"$folder/.made-for"
    exec 9>&-
}
