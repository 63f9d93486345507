# shellcheck shell=bash disable=SC2034
# Sourced by the other scripts: where things are, and how they speak.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # in a container one is root, and Open MPI objects
export OMPI_MCA_btl_base_warn_component_unused=0                  # no fast network is no reason for a warning

say() { printf '\n== %s\n' "$*"; }
fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 2
}

# seconds_since START: START is a value of $SECONDS
seconds_since() { printf '%d min %02d s' $(((SECONDS - $1) / 60)) $(((SECONDS - $1) % 60)); }

# as_root COMMAND...; call need_root WHAT_FOR once before, where its message is seen
need_root() { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "$1 needs root: run it as root, or install sudo"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# quietly LOG COMMAND...: shows what COMMAND printed only if it fails
quietly() {
    local log=$1
    shift
    if ! "$@" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        fail "failed: $* (all of its output is in $log)"
    fi
}
