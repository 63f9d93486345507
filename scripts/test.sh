#!/bin/bash
# test.sh [--preset release|debug|ci]: installs, builds, runs every test. The last lines are ctest's summary.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

preset=release
while [ $# -gt 0 ]; do
    case $1 in
        --preset) preset=${2:?"--preset needs a value"} && shift 2 ;;
        --preset=*) preset=${1#*=} && shift ;;
        *) fail "unknown option $1; usage: test.sh [--preset release|debug|ci]" ;;
    esac
done

"$root/scripts/install.sh"
"$root/scripts/build.sh" "$preset"
say "Testing"
cd "$root"
exec ctest --preset "$preset" --parallel $((2 * $(nproc) + 1))  # half cores: cmake/targets.cmake
