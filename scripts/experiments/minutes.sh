#!/bin/bash
# Whether fit keeps to the minutes that it is given, and what they bring on TREC-6 beside TF-IDF:
#   minutes.sh --data DIR [--minutes 5 10 20] [options of table.sh]
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case " $* " in
    *" --minutes "*) given=() ;;
    *) given=(--minutes 5 10 20) ;;
esac
exec "$here/table.sh" --task trec6 --labels all --seeds 3 --only tf-idf 'fit-*' "${given[@]}" "$@"
