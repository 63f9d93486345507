#!/bin/bash
# TREC-6 by three stages against the same classifier from scratch, some seeds each: test errors with their spread.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: scripts/trec6.sh --data DIR --stage1 RUN [--seeds N] [--ranks N] [--work DIR]

DIR/trec6 holds train.tsv.gz and test.tsv.gz; RUN is a language model of stage 1 (scripts/wikitext2.sh makes one at
runs/wikitext2/run). Stage 2 reads the questions without their labels. Both classifiers have the same shape and tokenizer
and see all labels; the one from scratch trains everything from the first epoch, at its own rate. Default: 3 seeds, 2 ranks.
TEXT
}

data='' stage1='' seeds=3 ranks=2 work=$root/runs/trec6
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage && exit ;;
        --data) data=$2 && shift 2 ;;
        --stage1) stage1=$2 && shift 2 ;;
        --seeds) seeds=$2 && shift 2 ;;
        --ranks) ranks=$2 && shift 2 ;;
        --work) work=$2 && shift 2 ;;
        *) fail "unknown option $1; --help explains" ;;
    esac
done
[ -d "$data/trec6" ] || fail "--data DIR: a folder with trec6/train.tsv.gz and trec6/test.tsv.gz"
[ -d "$stage1/checkpoints" ] || fail "--stage1 RUN: a language model, as scripts/wikitext2.sh makes one"
[ ! -e "$work" ] || fail "$work is there already; remove it, or name another folder by --work"

ulmpi=${ULMPI:-$root/build/release/ulmpi}
unset ULMPI
on_ranks() { mpirun -n "$ranks" --oversubscribe --bind-to none --mca mpi_yield_when_idle 0 "$ulmpi" "$@"; }
shape() {
    "$ulmpi" checkpoint show "$stage1" | python3 -c 'import json, sys
value = json.load(sys.stdin)["model"][sys.argv[1]]
print(("off", "on")[value] if isinstance(value, bool) else value)' "$1"
}
mkdir -p "$work"
zcat "$data/trec6/train.tsv.gz" | tail -n +2 | cut -f 2- >"$work/questions.txt"
"$ulmpi" data shards --tokenizer "$stage1/tokenizer.json" --input "$work/questions.txt" --output "$work/shards"
say "Stage 2"
on_ranks finetune lm --init-from "$stage1" --data "$work/shards" --run "$work/stage2" --epochs 5 --lr 1e-3 \
    --dropout 0.1 --micro-batch-size 4 --global-batch-size 8 --threads-per-rank 1

common=(--train "$data/trec6/train.tsv.gz" --test "$data/trec6/test.tsv.gz" --max-length 64 --micro-batch-size 16
    --global-batch-size 32 --threads-per-rank 1 --dropout 0.2)
for seed in $(seq "$seeds"); do
    say "Seed $seed: three stages"
    on_ranks finetune classifier --init-from "$work/stage2" --run "$work/three-stages-$seed" "${common[@]}" \
        --recipe ulmfit --epochs 12 --lr 3e-3 --discriminative-factor 1.4 --seed "$seed"
    say "Seed $seed: from scratch"
    on_ranks finetune classifier --tokenizer "$stage1/tokenizer.json" --run "$work/scratch-$seed" "${common[@]}" \
        --num-layers "$(shape layers)" --hidden-size "$(shape hidden)" --num-attention-heads "$(shape heads)" \
        --ffn-hidden-size "$(shape ffn)" --seq-length "$(shape context)" --position-embedding "$(shape position)" \
        --normalization "$(shape normalization)" --activation "$(shape activation)" --linear-bias "$(shape linear_bias)" \
        --epochs 12 --lr 1e-3 --seed "$seed"
done

say "TREC-6 test error, %"
python3 - "$work" "$seeds" <<'PYTHON'
import json, statistics, sys

work, seeds = sys.argv[1], int(sys.argv[2])
for name in "three-stages", "scratch":
    errors = []
    for seed in range(1, seeds + 1):
        records = map(json.loads, open(f"{work}/{name}-{seed}/metrics.jsonl"))
        errors.append(100 * [r for r in records if r["kind"] == "test"][-1]["error"])
    print(json.dumps({"classifier": name, "error": round(statistics.mean(errors), 2),
                      "sd": round(statistics.pstdev(errors), 2), "errors": [round(e, 1) for e in errors]}))
PYTHON
