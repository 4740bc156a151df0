"""Quality control as sections of a MultiQC report (its custom content, `*_mqc.json`)."""

import json
from collections.abc import Mapping
from typing import Any

from epifoundation.contracts import QC_FUNNEL
from epifoundation.files import whole

PARENT = {
    "parent_id": "epifoundation",
    "parent_name": "EpiFoundation",
    "parent_description": "Barcodes of the multiome samples and the criteria that cells meet.",
}
FIRST, LAST = "start", "kept"  # criteria of the funnel: all barcodes, and those that meet every one


def write_multiqc(funnels: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Write the sections `cells` and `criteria` to these paths; `funnels` are paths by sample."""
    read = {name: QC_FUNNEL.read(path) for name, path in funnels.items()}
    tables = {
        name: dict(zip(table["criterion"].tolist(), table["n_barcodes"].tolist(), strict=True))
        for name, table in read.items()
    }
    for name, section in (("cells", cells_section(tables)), ("criteria", criteria_section(tables))):
        with whole(outputs[name]) as partial:
            partial.write_text(json.dumps(section, indent=1) + "\n", encoding="utf-8")


def cells_section(funnels: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Return a bar for each sample: barcodes kept as cells, and those removed."""
    return {
        **PARENT,
        "id": "epifoundation_cells",
        "section_name": "Cells",
        "description": "Barcodes that meet every criterion, of those that the aligner called.",
        "plot_type": "bargraph",
        "pconfig": {"id": "epifoundation_cells_plot", "title": "Cells", "ylab": "Barcodes"},
        "data": {
            name: {"kept": counts[LAST], "removed": counts[FIRST] - counts[LAST]}
            for name, counts in funnels.items()
        },
    }


def criteria_section(funnels: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Return a row for each sample: barcodes that meet each criterion by itself."""
    names = dict.fromkeys(name for counts in funnels.values() for name in counts)
    headers = {
        name: {"title": name.replace("_", " "), "format": "{:,d}", "min": 0} for name in names
    }
    return {
        **PARENT,
        "id": "epifoundation_criteria",
        "section_name": "Criteria",
        "description": "Barcodes that meet each criterion by itself.",
        "plot_type": "table",
        "pconfig": {"id": "epifoundation_criteria_table", "title": "Barcodes by criterion"},
        "headers": headers,
        "data": {name: dict(counts) for name, counts in funnels.items()},
    }
