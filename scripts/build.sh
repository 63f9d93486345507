#!/bin/bash
# build.sh [PRESET [TARGET...]]: configures and builds one of CMakePresets.json (release, debug, ci) into build/PRESET.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

preset=${1:-release}
targets=("${@:2}")
cd "$root"
grep -q "\"name\": \"$preset\"" CMakePresets.json || fail "no preset $preset: release, debug or ci"
started=$SECONDS
say "Building (preset $preset)"
mkdir -p "build/$preset"
quietly "build/$preset/configure.log" cmake --preset "$preset"
build=(cmake --build --preset "$preset")
[ ${#targets[@]} = 0 ] || build+=(--target "${targets[@]}")
[ -t 1 ] || build+=(-- --quiet)
"${build[@]}"
echo "built build/$preset/ulmpi in $(seconds_since $started)"
