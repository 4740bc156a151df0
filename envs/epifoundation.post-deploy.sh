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

# scib ships its LISI helper compiled for glibc 2.38
lisi=$(python -c 'import importlib.util as u; print(u.find_spec("scib").submodule_search_locations[0])')/knn_graph
if "$lisi/knn_graph.o" 2>&1 | grep -q 'not found'; then
    "${CXX:-c++}" -std=c++11 -O3 "$lisi/knn_graph.cpp" -o "$lisi/knn_graph.o"
fi
