#!/usr/bin/env bash
# Make one of the project's virtual environments from its lock.
# usage: scripts/python_environment.sh main|liger     PYTHON=python3.11 names another interpreter
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/say.sh

name=$1
case $name in
main) environment=.venv ;;
liger) environment=.venv-liger ;;
*) fail "unknown environment '$name': main or liger" ;;
esac
mkdir -p .make
log=.make/environment-$name.log
: >"$log"

find_python() {
    local candidate version
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    version=$(${PYTHON:-python3} --version 2>/dev/null || echo "not found")
    fail "Python 3.11 or newer is needed, and ${PYTHON:-python3} is $version." \
        "Install one and name it: make setup PYTHON=python3.11"
}

# annoy has no wheels; a compiler, Python's headers and venv are separate packages on Debian.
prerequisites() {
    local missing=()
    command -v c++ >/dev/null || missing+=(g++)
    "$python" -c 'import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' || missing+=(python3-dev)
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    if ((${#missing[@]} == 0)); then return; fi
    if ((EUID == 0)) && command -v apt-get >/dev/null; then
        say "installing ${missing[*]} with apt-get"
        with_progress apt-get bash -c "apt-get update && DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends ${missing[*]}" ||
            fail "apt-get could not install ${missing[*]}; the reason is at the end of $log"
    else
        fail "please install ${missing[*]} (for example: sudo apt-get install ${missing[*]}), then try again"
    fi
}

pip_install() {
    local what=$1
    shift
    say "installing $what"
    with_progress "$what" "$environment/bin/python" -m pip install --disable-pip-version-check \
        --no-input "$@" || fail "$(pip_failure "$what")"
}

pip_failure() {
    if grep -qE 'Retry\(total=0|Max retries exceeded|Read timed out' "$log"; then
        printf 'pip could not reach a package index for %s. Is there a network, or a mirror in pip config? (details: %s)' "$1" "$log"
    else
        printf 'pip could not install %s: %s (details: %s)' "$1" \
            "$(grep -iE '^ *error: ' "$log" | tail -n 1)" "$log"
    fi
}

python=$(find_python)
prerequisites
say "making $environment with $("$python" --version), versions of locks/$name.txt"
rm -f "$environment/.ready"
"$python" -m venv --clear "$environment" >>"$log" 2>&1 ||
    fail "$python cannot make a virtual environment; the reason is at the end of $log"
if [ "$name" = main ]; then
    # Alone and with its dependencies, so that pip takes the build that fits this machine.
    pip_install torch "$(grep '^torch==' locks/main.txt)"
fi
pip_install "$(grep -c == "locks/$name.txt") packages" --no-deps -r "locks/$name.txt"
if [ "$name" = main ]; then
    pip_install epifoundation --no-deps --no-build-isolation --editable .
fi
say "$environment is ready ($SECONDS s)"
touch "$environment/.ready"
