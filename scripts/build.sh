#!/bin/bash
# build.sh [PRESET]: configures and builds one of CMakePresets.json (release, debug, ci) into build/PRESET.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

preset=${1:-release}
cd "$root"
grep -q "\"name\": \"$preset\"" CMakePresets.json || fail "no preset $preset: release, debug or ci"
started=$SECONDS
say "Building (preset $preset)"
mkdir -p "build/$preset"
quietly "build/$preset/configure.log" cmake --preset "$preset"
if [ -t 1 ]; then
    cmake --build --preset "$preset"
else
    cmake --build --preset "$preset" -- --quiet
fi
echo "built build/$preset/ulmpi in $(seconds_since $started)"
