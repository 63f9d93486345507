#!/bin/bash
# From a fresh Debian 12 to a text classifier in one command: installs, builds, and runs all three stages on two ranks.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: scripts/quickstart.sh [options]

Installs what is missing, builds, and trains on real text: a language model of general text (stage 1), the same model on
the task's text (stage 2), a classifier from it (stage 3), and for comparison the same classifier from scratch. Ends in
a table and ten predictions. By default the text is Debian's own package catalogue, and the task is to tell the section
of a package from its description.

  --minutes M   the whole run, installation and build included, should take about this long (default 9.5)
  --data DIR    a folder of data sets: DIR/TASK/{train,test}.tsv[.gz] with the header label<TAB>text, and
                DIR/wikitext-2/{train,valid}.txt[.gz] for stage 1
  --task TASK   which of them, such as trec6, sst2, imdb, ag_news; needs --data
  --ranks N     MPI ranks (default 2)
  --labels N    labelled rows to train on, at most (default 4000)
  --work DIR    where everything goes (default runs/quickstart-TASK); emptied first if an earlier quickstart filled it
TEXT
}

minutes=9.5 data='' task='' ranks=2 most_labels=4000 work=''
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage && exit ;;
        --minutes | --data | --task | --ranks | --labels | --work)
            [ $# -ge 2 ] || fail "$1 needs a value"
            case $1 in
                --minutes) minutes=$2 ;;
                --data) data=$2 ;;
                --task) task=$2 ;;
                --ranks) ranks=$2 ;;
                --labels) most_labels=$2 ;;
                --work) work=$2 ;;
            esac
            shift 2
            ;;
        *) fail "unknown option $1; --help explains" ;;
    esac
done
[ -z "$data" ] || [ -n "$task" ] || fail "--data needs --task"
[ -z "$task" ] || [ -n "$data" ] || fail "--task needs --data, the folder that holds $task"
[[ $minutes =~ ^[0-9]+(\.[0-9]+)?$ ]] || fail "--minutes $minutes is not a number"
[[ $ranks =~ ^[1-9][0-9]?$ ]] || fail "--ranks $ranks is not between 1 and 99"
[[ $most_labels =~ ^[1-9][0-9]*$ ]] || fail "--labels $most_labels is not a number"
[ -z "$data" ] || [ -d "$data/$task" ] || fail "$data/$task is not a folder"
work=${work:-$root/runs/quickstart-${task:-catalogue}}
if [ -e "$work" ]; then
    [ -e "$work/.quickstart" ] || fail "$work is there and not from a quickstart; name another folder by --work"
    rm -rf "$work"
fi

"$root/scripts/install.sh"
"$root/scripts/build.sh" release ulmpi
ulmpi=$root/build/release/ulmpi
mkdir -p "$work"
touch "$work/.quickstart"
text=$work/text

# --- text -------------------------------------------------------------------------------------------------------------

# lists KIND: the files that apt-get update brought
# shellcheck disable=SC2016
lists() { apt-get -o Acquire::Languages=en indextargets --format '$(FILENAME)' "Created-By: $1" | sort -u; }
present() { lists "$1" | xargs -r -d '\n' ls >"$work/lists" 2>/dev/null && [ -s "$work/lists" ]; }

if [ -z "$task" ]; then
    say "Text: Debian's package catalogue"
    if ! present Packages || ! present Translations; then
        need_root "fetching the catalogue's English descriptions (apt-get update)"
        quietly "$work/apt.log" as_root apt-get update -o Acquire::Languages=en
    fi
    for kind in Packages Translations; do
        lists $kind | xargs -r -d '\n' -n1 /usr/lib/apt/apt-helper cat-file >"$work/$kind"
    done
    python3 -B "$root/scripts/catalogue.py" --packages "$work/Packages" --translations "$work/Translations" \
        --output "$text" --labels "$most_labels"
    rm "$work/Packages" "$work/Translations"
else
    say "Text: WikiText-2 and $task"
    python3 -B "$root/scripts/labelled_set.py" --data "$data" --task "$task" --output "$text" --labels "$most_labels"
fi

# --- tokens -----------------------------------------------------------------------------------------------------------

vocabulary=8192
say "Tokens: a vocabulary of $vocabulary, and shards"
{
    "$ulmpi" data tokenizer --input "$text/general.txt" "$text/domain.txt" --vocab-size $vocabulary \
        --output "$work/tokenizer.json"
    for set in general general.valid domain domain.valid; do
        "$ulmpi" data shards --tokenizer "$work/tokenizer.json" --input "$text/$set.txt" --output "$work/shards/$set"
    done
} >"$work/data.jsonl"
tokens_in() { grep "shards/$1\"" "$work/data.jsonl" | json_field tokens; }
json_field() { python3 -c 'import json, sys; print(json.loads(sys.stdin.readlines()[-1])[sys.argv[1]])' "$1"; }
echo "$(tokens_in general) tokens of general text, $(tokens_in domain) of the task's"

# --- budget: the time that is left, in tokens at this machine's speed ---------------------------------------------------

export OMP_NUM_THREADS=1 # a rank a core: faster here than one rank with as many threads
on_ranks() { mpirun -n "$ranks" --oversubscribe --bind-to none --mca mpi_yield_when_idle 0 "$ulmpi" "$@"; }
# Small, because a model learns most from a few minutes when it sees much text: on WikiText-2 a width of
# 128 had a perplexity of 510 a word after 2 min 38 s, one of 256 had 893 after 3 min 53 s.
shape=(--num-layers 4 --hidden-size 128 --num-attention-heads 4 --seq-length 128 --position-embedding rotary
    --normalization rmsnorm --activation swiglu --linear-bias off)

micro_batch=$((ranks > 2 ? 2 : 4))
# shellcheck disable=SC2017
global_batch=$(((8 + micro_batch * ranks - 1) / (micro_batch * ranks) * micro_batch * ranks)) # 8, or what divides
tokens_per_s() { # PRECISION
    on_ranks bench step "${shape[@]}" --vocab-size $vocabulary --micro-batch-size $micro_batch --steps 30 \
        --precision "$1" 2>"$work/bench-$1.log" | json_field tokens_per_s 2>/dev/null
}
seconds_left() { # but 15 s for the report
    awk -v m="$minutes" -v used=$SECONDS 'BEGIN { print int(m * 60 - used - 15) }'
}

# bf16 where the CPU has instructions for it and is faster with them: text read counts for more here than digits.
precision=fp32
speed=$(tokens_per_s fp32) || fail "the measurement of speed failed: $(tail -n 1 "$work/bench-fp32.log")"
if bf16_speed=$(tokens_per_s bf16) && [ "${bf16_speed%.*}" -gt "${speed%.*}" ]; then
    precision=bf16 speed=$bf16_speed
fi
speed=${speed%.*}
seconds=$(seconds_left)
[ "$seconds" -ge 200 ] || seconds=200
tokens1=$((speed * seconds * 54 / 100))
tokens2=$((speed * seconds * 14 / 100))
say "$speed tokens/s in $precision on $ranks ranks; $((seconds / 60)) min $((seconds % 60)) s left for training"
[ "$tokens1" -ge 2500000 ] ||
    echo "note: stage 1 reads $tokens1 tokens, which is little; with more time (--minutes) all that follows gets better"

# --- the three stages -------------------------------------------------------------------------------------------------

training=(--micro-batch-size "$micro_batch" --global-batch-size "$global_batch" --threads-per-rank 1
    --precision "$precision")
started=$SECONDS
say "Stage 1: a language model of general text"
on_ranks pretrain --data "$work/shards/general" --valid "$work/shards/general.valid" --run "$work/stage1" \
    "${shape[@]}" --zero-residual-init on "${training[@]}" --train-tokens $tokens1 --lr 3e-3 --lr-schedule linear \
    --warmup-steps 100 --adam-beta2 0.98 --optimizer muon
echo "took $(seconds_since $started)"

started=$SECONDS
say "Stage 2: the same model on the task's text, without labels"
on_ranks finetune lm --init-from "$work/stage1" --data "$work/shards/domain" --valid "$work/shards/domain.valid" \
    --run "$work/stage2" "${training[@]}" --train-tokens $tokens2 --lr 1.5e-3 --dropout 0
echo "took $(seconds_since $started)"

# As many labels as fit into the time that is left, passed over `epochs` times by the classifier and by the one from
# scratch. A token is about 3.5 bytes. Without the vocabulary to predict, the two together cost about 1.2 times the
# language model's time for as many tokens.
epochs=8 max_length=128
tokens_a_text=$(awk -F '\t' -v most=$max_length '{ n = length($2) / 3.5; sum += n < most ? n : most }
    END { print int(sum / NR) + 1 }' "$text/train.tsv")
labels=$((speed * $(seconds_left) * 10 / (12 * epochs * tokens_a_text)))
[ "$labels" -ge 1000 ] || labels=1000
[ "$labels" -le "$most_labels" ] || labels=$most_labels
head -n $((labels + 1)) "$text/train.tsv" >"$text/labelled.tsv"

rows=(--train "$text/labelled.tsv" --valid "$text/valid.tsv" --test "$text/test.tsv" --epochs "$epochs"
    --max-length "$max_length" --micro-batch-size $((4 * micro_batch)) --global-batch-size $((4 * global_batch))
    --threads-per-rank 1 --dropout 0.1 --precision "$precision")
started=$SECONDS
say "Stage 3: a classifier from it, with $(($(wc -l <"$text/labelled.tsv") - 1)) labels"
on_ranks finetune classifier --init-from "$work/stage2" --run "$work/stage3" "${rows[@]}" --recipe ulmfit \
    --lr 3e-3 --discriminative-factor 1.4
echo "took $(seconds_since $started)"

started=$SECONDS
say "For comparison: the same classifier from scratch"
on_ranks finetune classifier --tokenizer "$work/tokenizer.json" "${shape[@]}" --run "$work/scratch" "${rows[@]}"
echo "took $(seconds_since $started)"

# --- what came out ----------------------------------------------------------------------------------------------------

say "Results"
on_ranks evaluate --model "$work/stage1" --data "$work/shards/domain.valid" >"$work/stage1.domain.json"
sed -n '2,11p' "$text/test.tsv" | cut -f 2- >"$work/ten.txt"
on_ranks predict --model "$work/stage3" --input "$work/ten.txt" --output "$work/ten.tsv"
python3 -B "$root/scripts/quickstart_report.py" "$work"
say "$work holds the models; all of it took $(seconds_since 0)"
