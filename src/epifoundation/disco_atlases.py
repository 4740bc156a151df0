"""The atlases of DISCO by whose profiles cells can be labelled, and which to take for a tissue."""

import gzip
from difflib import get_close_matches
from pathlib import Path

# Those whose profiles DISCO's service gives (toolkit/getRef, server of 2024 to 2026).
DISCO_ATLASES = (
    "AD_frontal_cortex_parenchyma",
    "COVID-19_blood",
    "Crohns_disease_ileum",
    "HIV_blood",
    "HIV_cerebrospinal_fluid",
    "HNSCC_blood",
    "PDAC_pancreas",
    "adipose_cell",
    "adipose_nucleus",
    "adrenal_gland",
    "basophil_mast_cell",
    "bladder",
    "blood",
    "bone_marrow",
    "brain",
    "breast",
    "breast_milk",
    "dengue_blood",
    "eye",
    "fibroblast",
    "gingiva",
    "heart",
    "intestine",
    "kidney",
    "liver_cell",
    "liver_nucleus",
    "lung",
    "ovary",
    "pancreas_cell",
    "placenta",
    "sarcoidosis_blood",
    "skeletal_muscle",
    "skin",
    "stomach",
    "testis",
    "thymus",
    "tonsil",
    "type_1_diabetes_pancreas",
    "type_2_diabetes_pancreas",
)
# A word of the tissue's name: atlases to choose from. Nothing stands here for bile duct and
# fallopian tube, of which DISCO has no atlas.
TISSUE_ATLASES = {
    "adipose": ("adipose_cell", "adipose_nucleus"),
    "adrenal": ("adrenal_gland",),
    "bladder": ("bladder",),
    "blood": ("blood",),
    "brain": ("brain",),
    "breast": ("breast",),
    "colon": ("intestine",),
    "cortex": ("brain",),
    "eye": ("eye",),
    "heart": ("heart",),
    "ileum": ("intestine",),
    "intestine": ("intestine",),
    "islet": ("pancreas_cell",),
    "kidney": ("kidney",),
    "liver": ("liver_cell", "liver_nucleus"),
    "lung": ("lung",),
    "marrow": ("bone_marrow",),
    "muscle": ("skeletal_muscle",),
    "ovary": ("ovary",),
    "pancreas": ("pancreas_cell",),
    "pancreatic": ("pancreas_cell",),
    "pbmc": ("blood",),
    "placenta": ("placenta",),
    "psoas": ("skeletal_muscle",),
    "retina": ("eye",),
    "skin": ("skin",),
    "stomach": ("stomach",),
    "testis": ("testis",),
    "thymus": ("thymus",),
    "tonsil": ("tonsil",),
}


def atlas_advice(tissue: str) -> str:
    """Return which atlases to choose from for a tissue (or for an atlas's misspelt name)."""
    words = tissue.lower().replace("_", " ").split()
    close = dict.fromkeys(name for word in words for name in TISSUE_ATLASES.get(word, ()))
    similar = get_close_matches(tissue, DISCO_ATLASES, n=1)
    if close or similar:
        return f"choose {' or '.join(close or similar)}"
    return (
        "DISCO has no atlas of it, so choose the nearest tissue and say so in caution; its atlases"
        f" are {', '.join(DISCO_ATLASES)}"
    )


def atlases_in(path: Path) -> list[str]:
    """Return the atlases that the header of a profiles table names (`type--atlas`), sorted.

    None also where the file cannot be read so: who reads all of it says what is wrong.
    """
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as handle:
            header = handle.readline().decode().strip()
    except (OSError, EOFError, UnicodeDecodeError):
        return []
    names = header.replace('"', "").split("\t" if "\t" in header else ",")
    return sorted({name.rpartition("--")[2] for name in names if "--" in name})
