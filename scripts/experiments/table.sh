#!/bin/bash
# The cells of one table (table.py says which and how), in a Python that has what the baselines need.
#   table.sh [--venv DIR] OPTIONS OF table.py
# Without --venv a virtual environment is made once, in runs/experiments/venv.
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$python" -B "$here/table.py" "${arguments[@]}"
