#!/bin/bash
# build.sh [PRESET [TARGET...]]: configures and builds one of CMakePresets.json (release, debug, ci) into build/PRESET.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Of ninja's lines a word every 15 s, with the time left by the files of the last minute; and all that is no such line.
progress() {
    awk '
        match($0, /^\[[0-9]+\/[0-9]+ [0-9.]+\] /) {
            split(substr($0, 2, RLENGTH - 3), field, /[\/ ]/)
            done = field[1]; total = field[2]; now = field[3]
            at[done] = now
            while (at[first + 0] < now - 60 && first + 1 < done) ++first
            if (now < said + 15 || done == total) next
            said = now
            rate = (done - first) / (now - at[first + 0] + 0.001)
            printf "building  %d of %d  %d s  about %d s left\n", done, total, now, (total - done) / rate
            fflush()
            next
        }
        /^ninja: no work to do/ { next }
        { print; fflush() }'
}

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
if [ -t 1 ]; then
    "${build[@]}"
else
    NINJA_STATUS='[%f/%t %e] ' "${build[@]}" | progress
fi
echo "built build/$preset/ulmpi in $(seconds_since $started)"
