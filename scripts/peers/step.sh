#!/bin/bash
# One training step beside PyTorch's, in turns: step.sh [options]; --help explains.
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
[[ -n $help || " ${arguments[*]} " == *" --ulmpi"* ]] || "$root/scripts/build.sh" release ulmpi >&2
exec "$python" -B "$here/step.py" "${arguments[@]}"
