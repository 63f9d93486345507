#!/bin/bash
# The table of trec6: trec6.sh --data DIR [options]; --help explains.
exec "$(dirname "${BASH_SOURCE[0]}")/table.sh" --task trec6 "$@"
