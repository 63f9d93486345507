#!/bin/bash
# What the command line promises for every command: command_line_test.sh ULMPI MPIEXEC.
set -uo pipefail
ulmpi=$1 mpiexec=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0

# expect STATUS TEXT COMMAND...: TEXT must stand in what the command prints, its errors in one line
expect() {
    local wanted=$1 text=$2 status
    shift 2
    timeout 60 "$@" >"$folder/out" 2>"$folder/err" </dev/null
    status=$?
    if [ "$status" != "$wanted" ] || ! cat "$folder/out" "$folder/err" | grep -q -F -- "$text"; then
        printf 'FAILED: %s\n  status %s (wanted %s), wanted to see: %s\n' "$*" "$status" "$wanted" "$text"
        head -n 5 "$folder/err"
        failures=$((failures + 1))
    elif [ "$wanted" = 2 ] && [ "$(grep -c '^ulmpi: ' "$folder/err")" != 1 ]; then
        printf 'FAILED: %s\n  one message was wanted:\n' "$*"
        cat "$folder/err"
        failures=$((failures + 1))
    fi
}

expect 0 "pretrain" "$ulmpi"
expect 0 "usage:" "$ulmpi" --help
expect 0 "ulmpi 0." "$ulmpi" --version
expect 2 'did you mean pretrain?' "$ulmpi" pretrian
expect 2 'unknown command "xyzzy"' "$ulmpi" xyzzy
expect 2 "ulmpi: " "$ulmpi" data
expect 2 'did you mean shards?' "$ulmpi" data shrads
expect 2 'did you mean lm?' "$ulmpi" finetune ml
expect 2 "ulmpi: " "$mpiexec" -n 2 "$ulmpi" pretrain --trian-steps 3
expect 2 "did you mean --train-steps?" "$ulmpi" pretrain --trian-steps 3
expect 2 "ULMPI_TRIAN_STEPS; did you mean ULMPI_TRAIN_STEPS?" env ULMPI_TRIAN_STEPS=3 "$ulmpi" pretrain
expect 2 "--train-steps" "$ulmpi" pretrain --train-steps -1 --data x --run x
expect 2 "--train-steps" "$ulmpi" pretrain --train-steps 99999999999999999999 --data x --run x
expect 2 "--seed (environment ULMPI_SEED)" env ULMPI_SEED=x "$ulmpi" pretrain --data x --run x
printf '[pretrain]\n\nlaerning-rate = 3\n' >"$folder/bad.ini"
expect 2 "$folder/bad.ini:3" "$ulmpi" pretrain --config "$folder/bad.ini"
expect 2 "no-such.ini is not a file" "$ulmpi" pretrain --config "$folder/no-such.ini"

# Jobs: what is wrong is said before any is submitted.
scripts=$(dirname "$0")/../../scripts
expect 2 "needs --config" "$ulmpi" submit
expect 2 "there is no 'shards/corpus'" "$ulmpi" submit --dry-run "$scripts/three-stages.ini"
expect 2 "no time to work" "$ulmpi" submit "$scripts/three-stages.ini" --time 2m --grace 2m
expect 2 "soon is no time" "$ulmpi" submit "$scripts/three-stages.ini" --time soon
expect 2 "alone" "$mpiexec" -n 2 "$ulmpi" submit "$scripts/three-stages.ini"
expect 2 "alone" "$mpiexec" -n 2 "$ulmpi" status
expect 2 "no chain was submitted" env -C "$folder" "$ulmpi" status
expect 2 "holds no chain.json" "$ulmpi" status "$folder"

# Every command explains itself, on standard output, once, within 100 columns; and the list of all option names that
# files and environments are checked against is exactly what the commands declare.
: >"$folder/declared"
while read -r command; do
    read -ra words <<<"$command"
    expect 0 "usage: ulmpi $command" "$ulmpi" "${words[@]}" --help
    [ "$(awk 'length > 100' "$folder/out" | wc -l)" = 0 ] || { echo "FAILED: wide help: $command"; failures=1; }
    expect 0 "config" "$ulmpi" "${words[@]}" --list-options
    cat "$folder/out" >>"$folder/declared"
    printf '[%s]\nseed = 1\n' "${command// /.}" >>"$folder/sections.ini"
done <<'COMMANDS'
data tokenizer
data shards
data encode
data verify
data show
data ledger
pretrain
finetune lm
finetune classifier
fit
submit
status
predict
evaluate
generate
checkpoint show
checkpoint verify
checkpoint slim
checkpoint import
checkpoint export
checkpoint ensemble
bench step
bench predict
bench gemm
COMMANDS
expect 2 "needs --data" "$ulmpi" pretrain --config "$folder/sections.ini" # a file serves all commands
expect 0 "usage: ulmpi pretrain" "$mpiexec" -n 2 "$ulmpi" pretrain --help
[ "$(grep -c '^usage:' "$folder/out")" = 1 ] || { echo "FAILED: two ranks explain twice"; failures=1; }
sort -u "$folder/declared" | grep -v -x -e help -e list-options >"$folder/declared.sorted"
"$ulmpi" --list-options | sort -u >"$folder/listed"
diff "$folder/declared.sorted" "$folder/listed" >"$folder/difference" ||
    { echo "FAILED: base/options/names.cpp (>) and what the commands declare (<) differ:"; cat "$folder/difference"; failures=1; }

[ "$failures" = 0 ] && echo "all cases as they should be"
exit "$failures"
