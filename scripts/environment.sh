# shellcheck shell=bash disable=SC2034
# Sourced by scripts of a folder beside it, with their arguments: sets here, that folder; python, the interpreter of an
# environment that has what its requirements.txt lists; and arguments, those that are not --venv DIR. The program itself
# needs none of it.
here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
requirements=${requirements:-$here/requirements.txt}
venv=${venv:-$root/runs/$(basename "$here")/venv}
arguments=() help=''
while [ $# -gt 0 ]; do
    case $1 in
        --venv)
            [ $# -ge 2 ] || fail "--venv needs a folder"
            venv=$2
            shift
            ;;
        --help | -h) help=1 ;;&
        *) arguments+=("$1") ;;
    esac
    shift
done
python=$venv/bin/python
if [ -n "$help" ]; then
    python=python3
elif [ ! -x "$python" ]; then
    say "Making $venv"
    mkdir -p "$(dirname "$venv")"
    # Under another name until it is whole.
    rm -rf "$venv.partial"
    python3 -m venv "$venv.partial"
    quietly "$venv.log" "$venv.partial/bin/python" -m pip install --requirement "$requirements"
    mv "$venv.partial" "$venv"
fi
