#!/bin/bash
# The table of imdb: imdb.sh --data DIR [options]; --help explains.
exec "$(dirname "${BASH_SOURCE[0]}")/table.sh" --task imdb "$@"
