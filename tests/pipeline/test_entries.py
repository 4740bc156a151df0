"""The second and third way into the workflow, from the demo's own files."""

import mudata
import pytest

pytestmark = pytest.mark.slow


def _cells(path):
    mudata.set_options(pull_on_update=False)
    return mudata.read_h5mu(path)


@pytest.mark.parametrize("entry", ["fragments", "matrices"])
def test_an_atlas_from(entry, demo, snakemake, root):
    overlays = ("config/demo.yaml", f"config/demo_{entry}.yaml")
    run = snakemake("--configfile", *overlays, "--rerun-incomplete", "--", "miniatlas")
    assert run.code == 0, run.output[-4000:]
    atlas = _cells(root / f"results-demo-{entry}/atlas/miniatlas/ALLTissue.h5mu")
    found = atlas.obs["cell_type"].astype(str).rename(lambda cell: cell.removeprefix("released#"))
    reference = _cells(demo / "atlas/miniatlas/ALLTissue.h5mu").obs
    expected = reference.loc[reference["sample"] == "Liver", "cell_type"].astype(str)
    shared = found.index.intersection(expected.index)
    assert len(shared) > 0.9 * len(expected)
    agreement = (found[shared] == expected[shared]).mean()
    assert agreement == 1 if entry == "matrices" else agreement > 0.8
