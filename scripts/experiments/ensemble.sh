#!/bin/bash
# Three networks in one file, and one network distilled from them, beside one that was trained alone:
#   ensemble.sh --data DIR [--task imdb --labels all] [options of table.sh]
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
given=()
case " $* " in *" --task "*) ;; *) given+=(--task imdb) ;; esac
case " $* " in *" --labels "*) ;; *) given+=(--labels all) ;; esac
exec "$here/table.sh" "${given[@]}" --only three-stages ensemble distilled "$@"
