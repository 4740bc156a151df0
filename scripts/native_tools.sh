#!/usr/bin/env bash
# Find STAR, bwa, samtools, tabix, bgzip and macs2, and fetch what is missing.
# In this order: PATH, apt (as root), conda or mamba (through Snakemake), pip (macs2 only).
# usage: scripts/native_tools.sh [--check]     --check fetches nothing
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/say.sh
mkdir -p .make
log=.make/native-tools.log
: >"$log"
export PATH=$PWD/.venv/bin:$PATH

declare -A package=([STAR]=rna-star [bwa]=bwa [samtools]=samtools [tabix]=tabix [bgzip]=tabix [macs2]=macs)

macs2_version() { macs2 --version 2>/dev/null | awk '{print $2}'; }

is_right_macs2() { [[ $1 == 2.2.7.1* || $1 == 2.2.9.1* ]]; } # both call the same peaks

find_missing() {
    local tool
    missing=()
    for tool in STAR bwa samtools tabix bgzip; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    command -v macs2 >/dev/null && is_right_macs2 "$(macs2_version)" || missing+=(macs2)
}

by_apt() {
    local wanted=() tool candidate
    say "asking apt for ${missing[*]}"
    with_progress apt-get apt-get update || say "apt-get update failed; see $log"
    for tool in "${missing[@]}"; do
        candidate=$(apt-cache policy "${package[$tool]}" | awk '/Candidate:/ {print $2}')
        if [ "$tool" = macs2 ] && ! is_right_macs2 "${candidate:-none}"; then
            say "apt has macs ${candidate:-(none)}, not used: macs2 2.2.7.1 or 2.2.9.1 is needed"
        elif [ -n "$candidate" ] && [ "$candidate" != '(none)' ]; then
            wanted+=("${package[$tool]}")
        fi
    done
    if ((${#wanted[@]})); then
        with_progress apt-get env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends "${wanted[@]}" ||
            say "apt-get could not install ${wanted[*]}; the reason is at the end of $log"
    fi
}

by_pip() {
    if .venv-macs2/bin/macs2 --version >/dev/null 2>&1; then
        ln -sf ../../.venv-macs2/bin/macs2 .venv/bin/macs2
        return
    fi
    say "building macs2 2.2.9.1 with pip in .venv-macs2 (2 to 4 minutes)"
    .venv/bin/python -m venv --clear .venv-macs2
    if with_progress macs2 .venv-macs2/bin/python -m pip install --disable-pip-version-check \
        --no-input macs2==2.2.9.1; then
        ln -sf ../../.venv-macs2/bin/macs2 .venv/bin/macs2
    else
        say "macs2 2.2.9.1 does not build here; the reason is at the end of $log"
    fi
}

rm -f .make/snakemake-options
check_only=${1:-}
if command -v macs2 >/dev/null && ! is_right_macs2 "$(macs2_version)"; then
    say "$(command -v macs2) is macs2 $(macs2_version), not used: only 2.2.7.1 and 2.2.9.1 call the paper's peaks"
fi
find_missing
if [ "$check_only" = --check ] && ((${#missing[@]})); then
    fail "missing: ${missing[*]}"
fi
if ((${#missing[@]} && EUID == 0)) && command -v apt-get >/dev/null; then
    by_apt
    hash -r
    find_missing
fi
if ((${#missing[@]})) && command -v conda mamba micromamba >/dev/null; then
    say "${missing[*]} will come from conda: Snakemake runs with --sdm conda"
    echo "--sdm conda" >.make/snakemake-options
    exit 0
fi
if [[ " ${missing[*]} " == *" macs2 "* ]]; then
    by_pip
    hash -r
    find_missing
fi
if ((${#missing[@]})); then
    names=$(for tool in "${missing[@]}"; do echo "${package[$tool]}"; done | sort -u | xargs)
    fail "please install ${missing[*]} (Debian, Ubuntu: sudo apt-get install $names; or conda from bioconda), then try again"
fi
say "native tools: STAR $(STAR --version), macs2 $(macs2_version), $(samtools --version | head -n 1), bwa, tabix, bgzip"
