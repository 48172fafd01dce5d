# Run the steps of a script with their output in a log file; source this file (needs pipefail).
#   logged LOG COMMAND...    append the output to LOG; show progress, the time taken and failures
#   failed LOG STATUS        show the end of LOG and exit with STATUS

# Print the progress in a line of pip's or mmengine's output, nothing for other lines.
progress() {
    local train='Epoch\(train\) +\[([0-9]+)\]\[ *([0-9]+)/([0-9]+)\].* eta: ([0-9:]+)'
    local evaluate='Epoch\((val|test)\) .*\[ *([0-9]+)/([0-9]+)\] +eta: ([0-9:]+)'
    local pip='^ *(Collecting|Downloading|Building|Installing) .*'
    if [[ $1 =~ $train ]]; then
        echo "epoch ${BASH_REMATCH[1]}, batch ${BASH_REMATCH[2]} of ${BASH_REMATCH[3]}," \
            "${BASH_REMATCH[4]} left"
    elif [[ $1 =~ $evaluate ]]; then
        echo "${BASH_REMATCH[1]}, batch ${BASH_REMATCH[2]} of ${BASH_REMATCH[3]}"
    elif [[ $1 =~ $pip ]]; then
        echo "$1"
    fi
}

# Append standard input to a log. A terminal shows one line of progress; elsewhere a line
# is printed every 30 seconds.
follow() {
    local log=$1 line news printed=$SECONDS
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log"
        news=$(progress "$line")
        if [ -z "$news" ]; then
            continue
        elif [ -t 1 ]; then
            printf '\r\033[K   %.72s' "$news"
        elif ((SECONDS - printed >= 30)); then
            printf '   %.72s\n' "$news"
            printed=$SECONDS
        fi
    done
    [ ! -t 1 ] || printf '\r\033[K'
}

failed() {
    echo "error: this step failed (exit code $2); the end of its log, $1:" >&2
    tail -n 20 "$1" >&2
    exit "$2"
}

logged() {
    local log=$1 start=$SECONDS status=0
    shift
    "$@" 2>&1 | follow "$log" || status=$?
    [ "$status" = 0 ] || failed "$log" "$status"
    echo "   $((SECONDS - start)) s"
}
