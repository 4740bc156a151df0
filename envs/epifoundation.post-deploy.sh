#!/usr/bin/env bash
# Run by Snakemake inside the new environment, in the directory Snakemake was started in.
set -euo pipefail
[ -f locks/main.txt ] || {
    echo "run Snakemake in the checkout's root: locks/main.txt is not in $PWD" >&2
    exit 1
}
python -m pip install "$(grep '^torch==' locks/main.txt)"
python -m pip install --no-deps -r locks/main.txt
python -m pip install --no-deps --no-build-isolation --editable .
python -m pip install --no-deps macs2==2.2.9.1
