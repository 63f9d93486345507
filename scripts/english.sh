#!/bin/bash
# The language models of general English that come with the program: trains one, and writes models/NAME/NAME.h5.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'TEXT'
usage: scripts/english.sh --data DIR [options]

DIR/general/*.txt.zst is the text to read, documents between blank lines; one in 400 is held out. Every step is done once:
the same command goes on where the last one was stopped. scripts/experiments/english.sh judges what comes out.

  --name NAME     english (default: 8 layers of width 384) or english-small (4 layers of width 256)
  --tokens N      read so many tokens (default 300000000); a run that has read fewer goes on
  --ranks N       MPI ranks (default 2)
  --precision P   fp32 (default) or bf16
  --nice N        priority of the training (default 19: the lowest)
  --gpu MINUTES   train with PyTorch on this machine's GPU instead, for so long (scripts/gpu_pretrain.py); --python P
                  names the Python that has torch, safetensors and h5py (default python3)
  --work DIR      where everything goes (default runs/english)
  --ship          write models/NAME/NAME.h5 from what is trained, and its checksum
TEXT
}

data='' name=english tokens=300000000 ranks=2 precision=fp32 nice=19 gpu='' python=python3 work=$root/runs/english ship=''
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h | --ship) ;;
        --*) [ $# -ge 2 ] || fail "$1 needs a value" ;;
    esac
    case $1 in
        --help | -h) usage && exit ;;
        --data) data=$2 && shift 2 ;;
        --name) name=$2 && shift 2 ;;
        --tokens) tokens=$2 && shift 2 ;;
        --ranks) ranks=$2 && shift 2 ;;
        --precision) precision=$2 && shift 2 ;;
        --nice) nice=$2 && shift 2 ;;
        --gpu) gpu=$2 && shift 2 ;;
        --python) python=$2 && shift 2 ;;
        --work) work=$2 && shift 2 ;;
        --ship) ship=yes && shift ;;
        *) fail "unknown option $1; --help explains" ;;
    esac
done
case $name in
    english) layers=8 width=384 heads=6 ffn=1024 seed=1 ;;
    english-small) layers=4 width=256 heads=4 ffn=704 seed=2 ;;
    *) fail "--name $name: english or english-small" ;;
esac
[ -d "$data/general" ] || fail "--data DIR: a folder with general/*.txt.zst"
command -v zstd >/dev/null || fail "zstd is not there: apt-get install zstd"
ulmpi=$root/build/release/ulmpi
[ -x "$ulmpi" ] || fail "$ulmpi is not there: scripts/build.sh release ulmpi"
mkdir -p "$work"
export OMP_NUM_THREADS=1
on_ranks() { nice -n "$nice" mpirun -n "$ranks" --oversubscribe --bind-to none "$ulmpi" "$@"; }

# made PATH COMMAND...: runs COMMAND, which writes PATH, unless PATH is there
made() {
    local path=$1
    shift
    [ -e "$path" ] || "$@"
}
split_text() {
    local rest='NR % 400 != 7' held_out='NR % 400 == 7'
    for file in "$data"/general/*.txt.zst; do zstd -dc "$file" | awk -v RS= -v ORS='\n\n' "$held_out"; done >"$work/valid.txt"
    for file in "$data"/general/*.txt.zst; do zstd -dc "$file" | awk -v RS= -v ORS='\n\n' "$rest"; done >"$work/train.part"
    mv "$work/train.part" "$work/train.txt"
}
tokenizer() {
    head -c 120000000 "$work/train.txt" >"$work/some.txt" # a quarter: the commonest pairs are the same in all
    "$ulmpi" data tokenizer --input "$work/some.txt" --vocab-size 12288 --output "$work/tokenizer.json"
    rm "$work/some.txt"
}
shards() { # NAME FILE OPTIONS
    "$ulmpi" data shards --tokenizer "$work/tokenizer.json" --input "$2" --output "$work/shards/$1" "${@:3}"
}

say "Text, vocabulary, shards"
made "$work/train.txt" split_text
made "$work/tokenizer.json" tokenizer
made "$work/shards/general" shards general "$work/train.txt" --documents blank --shard-tokens 20000000
made "$work/shards/general.valid" shards general.valid "$work/valid.txt" --documents blank

if [ -n "$gpu" ]; then
    say "The language model: $gpu minutes on the GPU"
    made "$work/$name.llama/config.json" "$python" "$root/scripts/gpu_pretrain.py" --data "$work/shards/general" \
        --valid "$work/shards/general.valid" --out "$work/$name.llama" --minutes "$gpu" --seed "$seed" \
        --layers "$layers" --width "$width" --heads "$heads" --ffn "$ffn"
else
    shape=(--num-layers "$layers" --hidden-size "$width" --num-attention-heads "$heads" --ffn-hidden-size "$ffn"
        --seq-length 512 --position-embedding rotary --normalization rmsnorm --activation swiglu --linear-bias off
        --zero-residual-init on --seed "$seed")
    training=(--lr 3e-3 --lr-schedule wsd --warmup-steps 100 --adam-beta2 0.98 --optimizer muon --weight-decay 0.1
        --global-batch-size 16 --micro-batch-size 4 --threads-per-rank 1 --precision "$precision" --save-interval 10m
        --log-interval 50)
    say "The language model: $tokens tokens of general English"
    on_ranks pretrain --data "$work/shards/general" --valid "$work/shards/general.valid" --run "$work/$name" \
        "${shape[@]}" "${training[@]}" --train-tokens "$tokens"
fi

[ -n "$ship" ] || exit 0
say "models/$name"
mkdir -p "$root/models/$name"
new=$root/models/$name/new.h5
rm -f "$new"
if [ -n "$gpu" ]; then
    "$ulmpi" checkpoint import --from "$work/$name.llama" --output "$new"
else
    "$ulmpi" checkpoint slim "$work/$name" --output "$new"
fi
mv "$new" "$root/models/$name/$name.h5"
(cd "$root/models/$name" && sha256sum "$name.h5" >SHA256SUMS)
ls -l "$root/models/$name"
