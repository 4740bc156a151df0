# Sourced by the set-up scripts: plain lines, and pip with progress and one clear line on failure.

say() { printf 'set-up: %s\n' "$*"; }

fail() {
    printf 'set-up: %s\n' "$*" >&2
    exit 1
}

# Run a command with its output in $log, saying every 20 s what it is at.
with_progress() {
    local what=$1 started=$SECONDS pid
    shift
    "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        if (((SECONDS - started) % 20 == 19)); then
            say "  $what: $((SECONDS - started + 1)) s, $(last_act)"
        fi
    done
    wait "$pid"
}

last_act() {
    local line
    line=$(grep -E '^ *(Collecting|Downloading|Building|Installing|Setting up|Unpacking|Get:)' "$log" | tail -n 1)
    line=${line#"${line%%[! ]*}"}
    line=${line:-starting}
    printf '%s' "${line:0:90}"
}
