#!/bin/bash
# How a job ends: run_main_test.sh PROBE MPIEXEC. Each case: exit status, what was said and how often, no rank left.
set -uo pipefail
probe=$1 mpiexec=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0

# expect STATUS TIMES TEXT WAY: on two ranks; TIMES lines of standard error hold TEXT
expect() {
    timeout 60 "$mpiexec" -n 2 "$probe" "$4" >"$folder/out" 2>"$folder/err"
    local status=$? times
    times=$(grep -c -F -- "$3" "$folder/err")
    if [ "$status" != "$1" ] || [ "$times" != "$2" ]; then
        echo "FAILED: $4: status $status (wanted $1), \"$3\" $times times (wanted $2); standard error:"
        cat "$folder/err"
        failures=$((failures + 1))
    fi
}

expect 0 0 "rank" speak
[ "$(cat "$folder/out")" = "rank 0" ] || { echo "FAILED: only rank 0 speaks, not: $(cat "$folder/out")"; failures=1; }
expect 75 0 "ulmpi:" status
expect 2 1 "ulmpi: no such file on the last rank" together
expect 2 1 "ulmpi: every rank sees this" usage
expect 1 1 "ulmpi: every rank met this" agreed
expect 1 0 "MPI_ABORT" agreed
expect 2 1 "[rank 1] only the last rank sees this" usage_alone
expect 1 1 "[rank 1] the last rank cannot go on" error
expect 1 1 "[rank 1] thrown in a thread" thread

timeout 60 "$probe" lines >/dev/full 2>"$folder/err"
[ $? = 1 ] && grep -q "cannot write the results" "$folder/err" || { echo "FAILED: full disk"; failures=1; }
{ timeout 60 "$probe" lines 2>"$folder/err"; echo $? >"$folder/status"; } | head -1 >"$folder/out"
[ "$(cat "$folder/status")" = 1 ] && grep -q "cannot write the results" "$folder/err" ||
    { echo "FAILED: closed pipe: status $(cat "$folder/status")"; cat "$folder/err"; failures=1; }

[ "$failures" = 0 ] && echo "all cases as they should be"
exit "$failures"
