"""The commands on small files; what they compute is tested where it is written."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from epifoundation.cli import build_parser, main
from epifoundation.cli.arguments import OutputFile, lines_of
from epifoundation.errors import DataError

FRAGMENTS = "chr1\t100\t180\tA-1\t1\nchr1\t150\t400\tA-1\t2\nchr1\t900\t1000\tB-1\t1\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "f.tsv").write_text(FRAGMENTS)
    (tmp_path / "p.bed").write_text("chr1\t120\t160\nchr1\t300\t950\nchr9\t1\t5\n")
    (tmp_path / "b.txt").write_text("B-1\nA-1\n")
    return tmp_path


def test_every_command_has_help_with_an_example(capsys):
    commands = build_parser()._subparsers._group_actions[0].choices  # argparse has no public way
    assert {"simulate", "call-peaks", "count", "qc", "cluster", "label"} <= set(commands)
    for name in commands:
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
        assert f"example: epifoundation {name}" in capsys.readouterr().out


def test_count_keeps_the_order_of_barcodes_and_peaks(files):
    arguments = ["--fragments", files / "f.tsv", "--peaks", files / "p.bed"]
    arguments += ["--barcodes", files / "b.txt", "--output", files / "m.h5ad"]
    assert main(["count", *map(str, arguments), "--keep-absent"]) == 0
    counts = ad.read_h5ad(files / "m.h5ad")
    assert counts.obs_names.tolist() == ["B-1", "A-1"]
    assert counts.X.toarray().tolist() == [[0, 1, 0], [2, 1, 0]]


def test_many_files_are_counted_as_one_pool_within_known_chromosomes(files):
    (files / "g.tsv").write_text("chr9\t0\t3\tB-1\t1\n")
    (files / "sizes.tsv").write_text("chr1\t2000\nchr9\t10\n")
    arguments = ["--fragments", files / "f.tsv", files / "g.tsv", "--peaks", files / "p.bed"]
    arguments += ["--barcodes", files / "b.txt", "--output", files / "m.h5ad"]
    arguments += ["--chrom-sizes", files / "sizes.tsv", "--threads", "2"]
    assert main(["count", *map(str, arguments)]) == 0
    assert ad.read_h5ad(files / "m.h5ad").X.toarray().tolist() == [[0, 1, 1], [2, 1, 0]]


def test_a_missing_file_is_one_line(files, capsys):
    arguments = ["--fragments", files / "absent.tsv.gz", "--peaks", files / "p.bed"]
    arguments += ["--barcodes", files / "b.txt", "--output", files / "m.h5ad"]
    assert main(["count", *map(str, arguments)]) == 2
    assert "absent.tsv.gz" in capsys.readouterr().err.splitlines()[-1]
    assert not (files / "m.h5ad").exists()


def test_an_empty_barcode_file_is_refused(files, capsys):
    (files / "b.txt").write_text("\n")
    arguments = ["--fragments", files / "f.tsv", "--peaks", files / "p.bed"]
    arguments += ["--barcodes", files / "b.txt", "--output", files / "m.h5ad"]
    assert main(["count", *map(str, arguments)]) == 2
    assert "b.txt holds no barcode" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (".", "is a folder. Name a file to write."),
        ("b.txt", "b.txt would be written over a file of this command."),
        ("b.txt/m.h5ad", "b.txt: File exists. Name another"),
    ],
)
def test_outputs_spare_folders_and_inputs(files, capsys, output, message):
    before = (files / "b.txt").read_text()
    arguments = ["--fragments", files / "f.tsv", "--peaks", files / "p.bed"]
    arguments += ["--barcodes", files / "b.txt", "--output", files / output]
    assert main(["count", *map(str, arguments)]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert (files / "b.txt").read_text() == before


def test_every_file_written_is_marked_as_such():
    """An option whose help says that it is written is spared from folders and inputs."""
    commands = build_parser()._subparsers._group_actions[0].choices
    for command in commands.values():
        for action in command._actions:
            if action.help and "to write" in action.help and "folder" not in action.help:
                written = action.type is OutputFile or "directory" in action.help
                assert written, (command.prog, action.option_strings)


def test_threads_are_at_least_one(capsys):
    with pytest.raises(SystemExit) as end:
        main(["score-embedding", "--threads", "0"])
    assert end.value.code == 2
    assert "0 is not above zero" in capsys.readouterr().err


@pytest.fixture
def embedded(tmp_path):
    rng = np.random.default_rng(0)
    types = np.repeat(["T cell", "B cell"], 60)
    obs = pd.DataFrame({"cell_type": types, "batch": ["1", "2"] * 60}, index=map(str, range(120)))
    obs.loc[obs.index[:60], "batch"] = "1"  # T cells are in one batch only
    embedding = rng.normal(size=(120, 4)) + 8 * (types == "T cell")[:, None]
    ad.AnnData(np.zeros((120, 1)), obs=obs, obsm={"X_lsi": embedding}).write(tmp_path / "x.h5ad")
    return tmp_path / "x.h5ad"


def _score(embedded, *options):
    output = embedded.with_name("s.json")
    arguments = ["--input", embedded, "--output", output, "--label", "cell_type", *options]
    return main(["score-embedding", *map(str, arguments)]), output


def test_an_embedding_is_scored(embedded):
    code, output = _score(embedded, "--embedding", "X_lsi", "--batch", "batch")
    scores = json.loads(output.read_text())
    assert code == 0
    assert set(scores) == {"iso", "nmi", "casw", "clisi", "basw", "gc"}
    assert scores["nmi"] > 0.95
    assert scores["gc"] == 1


def test_a_wrong_key_lists_those_that_are_there(embedded, capsys):
    code, output = _score(embedded, "--embedding", "X_pca", "--batch", "batch")
    assert code == 2
    assert "has no obsm['X_pca'] (found: X_lsi)" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize("text", ["barcode\nB-1\nA-1\n", "\ufeffB-1\nA-1\n", '"B-1"\r\n"A-1"\r\n'])
def test_lists_of_barcodes_may_have_a_header_a_mark_or_quotes(files, text):
    (files / "b.txt").write_bytes(text.encode())
    assert lines_of(files / "b.txt") == ["B-1", "A-1"]


@pytest.mark.parametrize("first", ["B-1,T cell", "B-1\tT", "barcode,is_cell"])
def test_tables_are_no_lists_of_barcodes(files, first):
    (files / "b.txt").write_text(f"{first}\nA-1\n")
    with pytest.raises(DataError, match=r"1 of its 2 lines hold more than a barcode \(first: ."):
        lines_of(files / "b.txt")


@pytest.mark.parametrize(
    ("barcode", "fragment", "advice"),
    [("A", "A-1", "end in -1: add it"), ("A-1", "A", "have no -1 at the end: take it off")],
)
def test_a_missing_suffix_is_named(files, capsys, barcode, fragment, advice):
    (files / "f.tsv").write_text(f"chr1\t1\t9\t{fragment}\t1\n")
    (files / "b.txt").write_text(barcode)
    arguments = ["--fragments", files / "f.tsv", "--peaks", files / "p.bed"]
    arguments += ["--barcodes", files / "b.txt", "--output", files / "m.h5ad"]
    assert main(["count", *map(str, arguments)]) == 2
    assert advice in capsys.readouterr().err.splitlines()[-1]


def test_the_first_line_is_shown_as_it_is_escaped_once(files, capsys):
    (files / "f.tsv").write_text("chr1\tx\t9\tA-1\n")
    arguments = ["--fragments", files / "f.tsv", "--peaks", files / "p.bed"]
    arguments += ["--barcodes", files / "b.txt", "--output", files / "m.h5ad"]
    assert main(["count", *map(str, arguments)]) == 2
    assert r"its first line is 'chr1\tx\t9\tA-1'" in capsys.readouterr().err
