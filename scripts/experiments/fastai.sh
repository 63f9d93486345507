#!/bin/bash
# fastai's own ULMFiT, in an environment that has it: fastai.sh [--venv DIR] STAGE OPTIONS OF fastai_ulmfit.py
requirements=$(dirname "${BASH_SOURCE[0]}")/requirements-fastai.txt
venv=$(dirname "${BASH_SOURCE[0]}")/../../runs/experiments/fastai-venv
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
[ -z "$help" ] || exec sed '/^"""$/Q; s/^"""//' "$here/fastai_ulmfit.py" # which itself needs the environment
exec "$python" -B "$here/fastai_ulmfit.py" "${arguments[@]}"
