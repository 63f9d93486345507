#!/bin/bash
# WikiText-2 in a given time: tokenizer, shards, a language model, its perplexity per word on the validation set.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: scripts/wikitext2.sh --data DIR [--minutes M] [--ranks N] [--work DIR]

Trains on DIR/wikitext-2/train.txt[.gz] on N ranks of one thread (default 2) and scores valid.txt: every token of it, each
with at least 64 tokens of context. Everything but the build takes about M minutes (default 15): the number of tokens
follows the speed that is measured first. Ends in a line of JSON.
TEXT
}

data='' minutes=15 ranks=2 work=$root/runs/wikitext2
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage && exit ;;
        --data) data=$2 && shift 2 ;;
        --minutes) minutes=$2 && shift 2 ;;
        --ranks) ranks=$2 && shift 2 ;;
        --work) work=$2 && shift 2 ;;
        *) fail "unknown option $1; --help explains" ;;
    esac
done
[ -d "$data/wikitext-2" ] || fail "--data DIR: a folder with wikitext-2/train.txt.gz and valid.txt.gz"
[ ! -e "$work" ] || fail "$work is there already; remove it, or name another folder by --work"
text() { ls "$data/wikitext-2/$1.txt.gz" "$data/wikitext-2/$1.txt" 2>/dev/null | head -n 1; }

"$root/scripts/build.sh" release ulmpi
SECONDS=0
ulmpi=$root/build/release/ulmpi
on_ranks() { mpirun -n "$ranks" --oversubscribe --bind-to none --mca mpi_yield_when_idle 0 "$ulmpi" "$@"; }
mkdir -p "$work"
vocabulary=8192
"$ulmpi" data tokenizer --input "$(text train)" --vocab-size $vocabulary --output "$work/tokenizer.json"
for set in train valid; do
    "$ulmpi" data shards --tokenizer "$work/tokenizer.json" --input "$(text $set)" --output "$work/$set"
done

shape=(--num-layers 4 --hidden-size 160 --num-attention-heads 5 --seq-length 128 --position-embedding rotary
    --normalization rmsnorm --activation swiglu --linear-bias off --zero-residual-init on)
speed=$(on_ranks bench step "${shape[@]}" --vocab-size $vocabulary --micro-batch-size 4 --threads-per-rank 1 --steps 50 |
    python3 -c 'import json, sys; print(int(json.loads(sys.stdin.readlines()[-1])["tokens_per_s"]))')
# 20 s are left for scoring, a little for a machine that slows down.
tokens=$(awk -v speed="$speed" -v minutes="$minutes" -v used=$SECONDS \
    'BEGIN { printf "%d", speed * (minutes * 60 - used - 20) * 0.94 }')
say "$speed tokens/s on $ranks ranks: $tokens tokens in $minutes minutes"
on_ranks pretrain --data "$work/train" --valid "$work/valid" --run "$work/run" "${shape[@]}" --train-tokens "$tokens" \
    --micro-batch-size 4 --global-batch-size 8 --lr 3e-3 --lr-schedule linear --warmup-steps 100 --adam-beta2 0.98 \
    --weight-decay 0.1 --threads-per-rank 1
score=$(on_ranks evaluate --model "$work/run" --data "$work/valid" --stride 64)
say "All but the build took $(seconds_since 0)"
echo "$score"
