#!/bin/bash
# Installs the Debian packages of scripts/packages.txt, if any is missing. Uses sudo where it is not root.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mapfile -t packages < <(grep -v -e '^#' -e '^$' "$root/scripts/packages.txt")
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    fail "this is not Debian or a relative of it; install what these packages hold by other means: ${packages[*]}"
fi

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} = 0 ]; then
    echo "all ${#packages[@]} packages are installed"
    exit 0
fi

started=$SECONDS
say "Installing ${#missing[@]} Debian packages: ${missing[*]}"
need_root "installing packages"
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
quietly "$log" as_root apt-get update
quietly "$log" as_root apt-get install -y --no-install-recommends "${missing[@]}"
rm -f "$log"
echo "installed in $(seconds_since $started)"
