#!/bin/bash
# A vocabulary of the domain's own in stage 2, its rows transferred or random, on TREC-6 and IMDb at 500 labels:
#   vocabulary.sh --data DIR [--task trec6] [options of table.sh]
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case " $* " in
    *" --task "* | *" --help "*) tasks=('') ;;
    *) tasks=(trec6 imdb) ;;
esac
for task in "${tasks[@]}"; do
    "$here/table.sh" ${task:+--task "$task"} --labels 500 --only transferred-vocabulary random-vocabulary three-stages "$@"
done
