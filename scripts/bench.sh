#!/bin/bash
# Tables of the speed of training steps and of saves on this machine.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: scripts/bench.sh lengths|layouts|profile|resume [--precision fp32|bf16] [--rounds N]
       scripts/bench.sh saves [--split OPTIONS] [--folder DIR] [--rounds N]

lengths   one sequence of 512 to 8,192 tokens: speed and memory (two threads)
layouts   ranks x threads of 1x1, 1x2 and 2x1 on one batch of 8 sequences of 256 tokens, in turns, medians
profile   the same step with --profile and without, in turns: what a profile costs
resume    from the start of a command to the end of its first step, resumed from 1.5 GB and from the beginning: GPT-2
          small's size, whatever the model below
saves     checkpoints of 124 M parameters and their moments (1.5 GB), by a run that waits and by one that does not,
          beside dd, which writes four files of zeros to the same disk, that of DIR (default: the build folder), each
          removed when the next is there, as the runs do it; on one rank, or on two that are split by OPTIONS: '' is data parallel, '--tp 2', '--pp 2'

Else the model has 6 layers of width 512, 8 heads and a vocabulary of 8,192. N: rounds (default 3, saves 5).
Prints Markdown.
TEXT
}

table=${1:-} && [ $# -gt 0 ] && shift
precision=fp32 rounds=3 folder=$root/build split=() ranks=1
[[ $table = saves ]] && rounds=5
[[ $table = --help || $table = -h ]] && usage && exit
[[ $table =~ ^(lengths|layouts|profile|resume|saves)$ ]] || fail "lengths, layouts, profile, resume or saves? --help explains"
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage && exit ;;
        --precision) precision=$2 && shift 2 ;;
        --rounds) rounds=$2 && shift 2 ;;
        --folder) folder=$2 && shift 2 ;;
        --split) ranks=2 && read -ra split <<<"$2" && shift 2 ;;
        *) fail "unknown option $1; --help explains" ;;
    esac
done

"$root/scripts/build.sh" release ulmpi >&2
ulmpi=$root/build/release/ulmpi
work=$(mktemp -d "$folder/bench-XXXXXX")
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

# Steps of some tenths of a second, three saves between them and one at the end.
prepare_saves() {
    python3 -c 'import random; random.seed(1)
for line in range(3000): print(" ".join(random.choice("the a cat dog river walks sings over".split()) for _ in range(20)))' \
        >"$work/text"
    "$ulmpi" data tokenizer --input "$work/text" --vocab-size 300 --output "$work/tokenizer.json"
    "$ulmpi" data shards --tokenizer "$work/tokenizer.json" --input "$work/text" --output "$work/shards"
}
saves() {
    local name=$1
    shift
    rm -rf "$work/run"
    mpirun -n "$ranks" --oversubscribe --bind-to none "$ulmpi" pretrain --data "$work/shards" --num-layers 17 \
        --hidden-size 768 --num-attention-heads 12 --ffn-hidden-size 3200 --seq-length 32 --global-batch-size 2 \
        --micro-batch-size 1 --train-steps 64 --keep-last 1 --run "$work/run" "${split[@]}" "$@" \
        2>>"$work/errors" || { cat "$work/errors" >&2; fail "pretrain $* failed"; }
    grep saved "$work/errors" | tail -n 1 | tr -d '\n' >>"$work/$name"
    printf '  of %s bytes\n' "$(stat -c %s "$work/run/checkpoints/"*)" >>"$work/$name"
    rm -rf "$work/run"
}
[[ $table = saves ]] && prepare_saves >&2

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
        saves)
            for file in 1 2 3 4; do
                dd if=/dev/zero of="$work/zeros-$file" bs=1M count=1420 conv=fdatasync 2>&1 | tail -n 1
                rm -f "$work/zeros-$((file - 1))"
            done >>"$work/dd"
            rm "$work/zeros-4"
            saves sync --save-mode sync --save-interval 16
            saves async --save-mode async --save-interval 16 ;;
    esac
done

if [[ $table = saves ]]; then
    python3 - "$work" <<'PYTHON'
import re, statistics, sys

def lines(name):
    return open(f"{sys.argv[1]}/{name}").read().splitlines()


def numbers(pattern, name):
    return [float(re.search(pattern, line)[1]) for line in lines(name)]


def show(values, digits):
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


files = [(int(line.split()[0]) / 1e6, float(re.search(r"copied, ([\d.]+) s", line)[1])) for line in lines("dd")]
rounds = [files[i:i + 4] for i in range(0, len(files), 4)]
dd = [sum(mb for mb, _ in four) / sum(s for _, s in four) for four in rounds]
size = statistics.median(numbers(r"of (\d+) bytes", "sync"))
seconds = {name: numbers(r"saved .*?: ([\d.]+) s", name) for name in ("sync", "async")}
waited = {"sync": seconds["sync"], "async": numbers(r"waited ([\d.]+) s", "async")}
print("| median of the rounds (least to most) | MB/s | of dd's | seconds a save | steps wait, seconds | of a save that waits |")
print("|---|---|---|---|---|---|")
print(f"| dd | {show(dd, 0)} | | | | |")
for name in ("sync", "async"):
    speed = [size / s / 1e6 for s in seconds[name]]
    print(f"| --save-mode {name} | {show(speed, 0)} | {show([a / b for a, b in zip(speed, dd)], 2)} | "
          f"{show(seconds[name], 2)} | {show(waited[name], 3)} | "
          f"{show([a / b for a, b in zip(waited[name], seconds['sync'])], 3)} |")
PYTHON
    exit
fi

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
