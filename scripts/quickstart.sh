#!/bin/bash
# From a fresh Debian 12 to a text classifier in one command: installs, builds, and fine-tunes on two ranks.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: scripts/quickstart.sh [options]

Installs what is missing, builds, and makes a classifier of real text from the language model that comes with the
program: the model goes on with the task's text (stage 2) and becomes a classifier (stage 3), all of it by one command,
`ulmpi fit`. For comparison: the same classifier from scratch, a linear model of words, the commonest class; and a minute
of stage 1, to show that. Ends in a table and ten predictions. By default the text is Debian's own package catalogue, and
the task is to tell the section of a package from its description.

  --minutes M   all that follows installation and build takes about this long (default 9.5)
  --data DIR    a folder of data sets: DIR/TASK/{train,test}.tsv[.gz] with the header label<TAB>text, and
                DIR/wikitext-2/{train,valid}.txt[.gz] for stage 1
  --task TASK   which of them, such as trec6, sst2, imdb, ag_news; needs --data
  --ranks N     MPI ranks (default 2)
  --labels N    labelled rows to train on, at most (default 1000)
  --init-from M the language model to start from (default: english, or english-small where this machine is too slow for it)
  --work DIR    where everything goes (default runs/quickstart-TASK); emptied first if an earlier quickstart filled it
TEXT
}

minutes=9.5 data='' task='' ranks=2 most_labels=1000 model='' work=''
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage && exit ;;
        --minutes | --data | --task | --ranks | --labels | --init-from | --work)
            [ $# -ge 2 ] || fail "$1 needs a value"
            case $1 in
                --minutes) minutes=$2 ;;
                --data) data=$2 ;;
                --task) task=$2 ;;
                --ranks) ranks=$2 ;;
                --labels) most_labels=$2 ;;
                --init-from) model=$2 ;;
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
built=$SECONDS
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

# --- how fast this machine is ------------------------------------------------------------------------------------------

export OMP_NUM_THREADS=1 # a rank a core: faster here than one rank with as many threads
on_ranks() { mpirun -n "$ranks" --oversubscribe --bind-to none --mca mpi_yield_when_idle 0 "$ulmpi" "$@"; }
json_field() { python3 -c 'import json, sys; print(json.loads(sys.stdin.readlines()[-1])[sys.argv[1]])' "$1"; }
seconds_left() { awk -v m="$minutes" -v used=$((SECONDS - built)) 'BEGIN { print int(m * 60 - used - 25) }'; } # 25: the report

# The shape of english-small: what stage 1 and the classifier from scratch have, too.
vocabulary=8192
shape=(--num-layers 4 --hidden-size 256 --num-attention-heads 4 --ffn-hidden-size 704 --position-embedding rotary
    --normalization rmsnorm --activation swiglu --linear-bias off)
micro_batch=$((ranks > 2 ? 2 : 4))
# shellcheck disable=SC2017
global_batch=$(((8 + micro_batch * ranks - 1) / (micro_batch * ranks) * micro_batch * ranks)) # 8, or what divides
tokens_per_s() { # PRECISION
    on_ranks bench step "${shape[@]}" --seq-length 128 --vocab-size $vocabulary --micro-batch-size $micro_batch \
        --steps 20 --precision "$1" 2>"$work/bench-$1.log" | json_field tokens_per_s 2>/dev/null
}
# bf16 where the CPU has instructions for it and is faster with them.
precision=fp32
speed=$(tokens_per_s fp32) || fail "the measurement of speed failed: $(tail -n 1 "$work/bench-fp32.log")"
if bf16_speed=$(tokens_per_s bf16) && [ "${bf16_speed%.*}" -gt "${speed%.*}" ]; then
    precision=bf16 speed=$bf16_speed
fi
speed=${speed%.*}
labels=$(($(wc -l <"$text/train.tsv") - 1))
# english takes two to four times as long as english-small for a token, and stage 2 wants its share: a fifth of the tokens
# that this shape would read must be the labelled texts as often as they are to be learnt.
tokens=$(($(wc -c <"$text/train.tsv") / 4))
readings=$((40000 / (labels + 1)))
readings=$((readings < 3 ? 3 : readings > 15 ? 15 : readings))
fit_seconds=$(($(seconds_left) * 70 / 100))
if [ -z "$model" ]; then
    model=english-small
    [ $((speed * fit_seconds / 5)) -lt $((readings * tokens)) ] || model=english
fi
say "$speed tokens/s in $precision on $ranks ranks: $labels labelled texts of $tokens tokens, starting from $model"

# --- the three stages -------------------------------------------------------------------------------------------------

started=$SECONDS
say "Stages 2 and 3: from $model to a classifier"
# In package descriptions the words say more than the network: its pseudo-labels would only take time (docs/LOG.md).
fit_minutes=$(awk -v s="$fit_seconds" 'BEGIN { printf "%.2f", s / 60 }')
on_ranks fit --init-from "$model" --train "$text/train.tsv" --test "$text/test.tsv" --text "$text/domain.txt" \
    --run "$work/fit" --minutes "$fit_minutes" --pseudo-labels off --precision "$precision" --threads-per-rank 1
echo "took $(seconds_since $started)"

# --- for comparison ---------------------------------------------------------------------------------------------------

say "Tokens: a vocabulary of $vocabulary, and shards"
{
    "$ulmpi" data tokenizer --input "$text/general.txt" "$text/domain.txt" --vocab-size $vocabulary \
        --output "$work/tokenizer.json"
    for set in general general.valid; do
        "$ulmpi" data shards --tokenizer "$work/tokenizer.json" --input "$text/$set.txt" --output "$work/shards/$set"
    done
} >"$work/data.jsonl"

# Scratch may read the labelled texts as often as its time allows, up to 12 times; it costs about half of what the
# language model's step does for as many tokens.
stage1_seconds=$(($(seconds_left) * 30 / 100))
stage1_seconds=$((stage1_seconds < 60 ? stage1_seconds : 60))
epochs=$((speed * ($(seconds_left) - stage1_seconds) * 8 / 10 / (tokens + 1)))
epochs=$((epochs < 1 ? 1 : epochs > 12 ? 12 : epochs))
started=$SECONDS
say "The same classifier from scratch: no stage 1, no stage 2, $epochs epochs"
on_ranks finetune classifier --tokenizer "$work/tokenizer.json" "${shape[@]}" --seq-length 512 --run "$work/scratch" \
    --train "$text/train.tsv" --test "$text/test.tsv" --epochs "$epochs" --micro-batch-size $((2 * micro_batch)) \
    --global-batch-size $((2 * global_batch)) --threads-per-rank 1 --dropout 0.2 --lr 1e-3 --precision "$precision"
echo "took $(seconds_since $started)"

# Muon at a batch of a thousand tokens takes three times as long as the step that was measured.
started=$SECONDS
say "Stage 1, for a look at it: about a minute of what made $model in a night"
on_ranks pretrain --data "$work/shards/general" --valid "$work/shards/general.valid" --run "$work/stage1" \
    "${shape[@]}" --seq-length 128 --zero-residual-init on --micro-batch-size "$micro_batch" \
    --global-batch-size "$global_batch" --threads-per-rank 1 --precision "$precision" \
    --train-tokens $((speed * stage1_seconds * 3 / 10)) --lr 3e-3 --lr-schedule linear --warmup-steps 50 \
    --adam-beta2 0.98 --optimizer muon
echo "took $(seconds_since $started)"

# --- what came out ----------------------------------------------------------------------------------------------------

say "Results"
sed -n '2,11p' "$text/test.tsv" | cut -f 2- >"$work/ten.txt"
on_ranks predict --model "$work/fit" --input "$work/ten.txt" --output "$work/ten.tsv"
python3 -B "$root/scripts/quickstart_report.py" "$work" "$model"
say "$work holds the models; all of it took $(seconds_since 0), $(seconds_since $built) of them after the build"
