#!/bin/bash
# Tables of the training step's speed on this machine.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: scripts/bench.sh lengths|layouts|profile|resume [--precision fp32|bf16] [--rounds N]

lengths   one sequence of 512 to 8,192 tokens: speed and memory (two threads)
layouts   ranks x threads of 1x1, 1x2 and 2x1 on one batch of 8 sequences of 256 tokens, in turns, medians
profile   the same step with --profile and without, in turns: what a profile costs
resume    from the start of a command to the end of its first step, resumed from 1.5 GB and from the beginning: GPT-2
          small's size, whatever the model below

The model has 6 layers of width 512, 8 heads and a vocabulary of 8,192. N: rounds (default 3). Prints Markdown.
TEXT
}

table=${1:-} && [ $# -gt 0 ] && shift
precision=fp32 rounds=3
[[ $table = --help || $table = -h ]] && usage && exit
[[ $table =~ ^(lengths|layouts|profile|resume)$ ]] || fail "lengths, layouts, profile or resume? --help explains"
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage && exit ;;
        --precision) precision=$2 && shift 2 ;;
        --rounds) rounds=$2 && shift 2 ;;
        *) fail "unknown option $1; --help explains" ;;
    esac
done

"$root/scripts/build.sh" release ulmpi >&2
ulmpi=$root/build/release/ulmpi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ "$table" = resume ]; then
    python3 "$root/scripts/bench_resume.py" "$ulmpi" "$work" "$rounds"
    exit
fi
shape=(--num-layers 6 --hidden-size 512 --num-attention-heads 8 --vocab-size 8192 --precision "$precision")

# step NAME RANKS THREADS OPTIONS...: one measurement, a line of JSON in $work/NAME
step() {
    local name=$1 ranks=$2 threads=$3
    shift 3
    mpirun -n "$ranks" --oversubscribe --bind-to none "$ulmpi" bench step "${shape[@]}" --threads-per-rank "$threads" \
        "$@" 2>>"$work/errors" >>"$work/$name" || { cat "$work/errors" >&2; fail "bench step $* failed"; }
}

for ((round = 0; round < rounds; ++round)); do
    case $table in
        lengths)
            for length in 512 1024 2048 4096 8192; do
                step "$length" 1 2 --seq-length $length --micro-batch-size 1 --steps 3
            done ;;
        layouts)
            step "1 x 1" 1 1 --seq-length 256 --micro-batch-size 8
            step "1 x 2" 1 2 --seq-length 256 --micro-batch-size 8
            step "2 x 1" 2 1 --seq-length 256 --micro-batch-size 4 ;;
        profile)
            step "without" 1 2 --seq-length 256 --micro-batch-size 8
            step "with --profile" 1 2 --seq-length 256 --micro-batch-size 8 --profile "$work/trace.json" ;;
    esac
done

python3 - "$work" "$table" "$precision" <<'PYTHON'
import json, os, statistics, sys

work, table, precision = sys.argv[1:]
names = {"lengths": ["512", "1024", "2048", "4096", "8192"], "layouts": ["1 x 1", "1 x 2", "2 x 1"],
         "profile": ["without", "with --profile"]}[table]
title = {"lengths": "tokens", "layouts": "ranks x threads", "profile": "a step"}[table]
runs = {name: [json.loads(line) for line in open(os.path.join(work, name))] for name in names}


def median(name, key):
    return statistics.median(run[key] for run in runs[name])


print(f"| {title}, {precision} | tokens/s | ms a step | GFLOP/s | of the fp32 GEMM peak | peak memory of a rank, MB |"
      + (" MB more for a thousand tokens |" if table == "lengths" else ""))
print("|---|---|---|---|---|---|" + ("---|" if table == "lengths" else ""))
before = None
for name in names:
    row = (f"| {name} | {median(name, 'tokens_per_s'):,.0f} | {median(name, 'ms_per_step'):,.0f} | "
           f"{median(name, 'gflops'):.0f} | {median(name, 'gemm_peak_share'):.2f} | {median(name, 'peak_mb'):,.0f} |")
    if table == "lengths":
        more = before and 1000 * (median(name, "peak_mb") - median(before, "peak_mb")) / (int(name) - int(before))
        row += f" {more:.0f} |" if before else " |"
        before = name
    print(row)
if table == "profile":
    ratios = [b["ms_per_step"] / a["ms_per_step"] for a, b in zip(*runs.values())]
    print(f"\nwith ÷ without: {statistics.median(ratios):.4f} (rounds: {', '.join(f'{r:.4f}' for r in ratios)})")
PYTHON
