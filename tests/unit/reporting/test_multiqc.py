"""What MultiQC is given: the counts of the funnels, in the shape of its custom content."""

import json
from pathlib import Path

import pandas as pd
import pytest

from epifoundation.contracts import QC_FUNNEL
from epifoundation.reporting.multiqc import write_multiqc


@pytest.fixture
def sections(tmp_path):
    funnels = {}
    for name, kept in (("Lung", 470), ("Liver", 231)):
        table = pd.DataFrame(
            {
                "criterion": ["start", "min_rna_umis", "kept"],
                "n_barcodes": [530, 492, kept],
                "n_removed": [0, 38, 530 - kept],
                "note": "",
            }
        )
        funnels[name] = str(tmp_path / f"{name}.tsv")
        QC_FUNNEL.write(table, funnels[name])
    outputs = {name: str(tmp_path / f"{name}_mqc.json") for name in ("cells", "criteria")}
    write_multiqc(funnels, outputs)
    return {name: json.loads(Path(path).read_text()) for name, path in outputs.items()}


def test_kept_and_removed_are_all_barcodes(sections):
    assert sections["cells"]["data"] == {
        "Lung": {"kept": 470, "removed": 60},
        "Liver": {"kept": 231, "removed": 299},
    }
    assert sections["cells"]["plot_type"] == "bargraph"


def test_every_criterion_has_a_column(sections):
    section = sections["criteria"]
    assert section["plot_type"] == "table"
    assert section["data"]["Lung"] == {"start": 530, "min_rna_umis": 492, "kept": 470}
    assert section["headers"].keys() == section["data"]["Lung"].keys()


def test_sections_have_ids_of_their_own_and_one_parent(sections):
    assert len({section["id"] for section in sections.values()}) == 2
    assert {section["parent_id"] for section in sections.values()} == {"epifoundation"}
