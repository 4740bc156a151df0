#!/usr/bin/env bash
# Run by Snakemake inside the new environment, in the directory Snakemake was started in.
set -euo pipefail
python -m pip install --no-deps -r locks/liger.txt
