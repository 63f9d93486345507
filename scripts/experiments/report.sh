#!/bin/bash
# docs/results.md and its pictures from the results of the tables: report.sh [--venv DIR] [RESULTS.jsonl...]
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$python" -B "$here/report.py" "${arguments[@]}"
