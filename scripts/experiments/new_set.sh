#!/bin/bash
# The table of a set of your own, `ulmpi fit` beside the baselines at 500 labels:
#   new_set.sh TRAIN.tsv[.gz] TEST.tsv[.gz] [options]; --help explains.
[ $# -ge 2 ] && [ "$1" != --help ] || exec "$(dirname "${BASH_SOURCE[0]}")/table.sh" --help
exec "$(dirname "${BASH_SOURCE[0]}")/table.sh" --train "$1" --test "$2" "${@:3}"
