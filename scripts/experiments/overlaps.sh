#!/bin/bash
# Test rows that share a run of 50 letters and digits with a text: overlaps.sh [--venv DIR] TEST TEXT...
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$python" -B "$here/overlaps.py" "${arguments[@]}"
