#!/bin/bash
# The table of ag_news: ag_news.sh --data DIR [options]; --help explains.
exec "$(dirname "${BASH_SOURCE[0]}")/table.sh" --task ag_news "$@"
