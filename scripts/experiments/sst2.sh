#!/bin/bash
# The table of sst2: sst2.sh --data DIR [options]; --help explains.
exec "$(dirname "${BASH_SOURCE[0]}")/table.sh" --task sst2 "$@"
