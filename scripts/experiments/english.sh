#!/bin/bash
# The model to start from beside one of WikiText-2 alone: english.sh --data DIR --held-out FILE; --help explains.
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$python" -B "$here/english.py" "${arguments[@]}"
