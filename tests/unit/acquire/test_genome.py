"""The reference: one form, checked; and the indexes made of it."""

import gzip
import io
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from epifoundation.acquire.annotation import normalise_gtf
from epifoundation.acquire.genome import (
    ReferenceSources,
    build_reference,
    check_md5,
    is_tar,
    unpack_arc_reference,
)
from epifoundation.acquire.indexes import BWA_SUFFIXES, index_bwa, index_star
from epifoundation.errors import AcquireError, ToolError

SEQUENCE = {"chr2": 900, "chr1": 1200, "chrM": 300}
CHROMOSOMES = ["chr1", "chr2", "chrM"]
GENE = 'gene_id "ENSG1"; gene_name "ABC1"; gene_type "protein_coding";'
BLACKLIST = "track name=x\nchr1\t100\t200\tHigh Signal\nchr2\t0\t900\nchr1\t50\t60\n"


def fasta_text() -> str:
    rng = random.Random(1)
    lines = []
    for name, length in SEQUENCE.items():
        bases = "".join(rng.choices("ACGT", k=length))
        lines += [f">{name} {name[3:]}", *(bases[i : i + 60] for i in range(0, length, 60))]
    return "\n".join(lines) + "\n"


def gtf_text(attributes: str = GENE, chrom: str = "chr1") -> str:
    transcript = f'{attributes} transcript_id "ENST1";'
    rows = [
        ("gene", 101, 700, attributes),
        ("transcript", 101, 700, transcript),
        ("exon", 101, 300, transcript),
        ("exon", 501, 700, transcript),
    ]
    lines = [f"{chrom}\tHAVANA\t{f}\t{s}\t{e}\t.\t+\t.\t{a}" for f, s, e, a in rows]
    return "##format: gtf\n" + "\n".join(lines) + "\n"


@pytest.fixture
def sources(tmp_path: Path) -> Callable[..., ReferenceSources]:
    def make(
        *,
        gtf: str | None = None,
        blacklist: str = BLACKLIST,
        fasta: str | None = None,
        packed: bool = True,
    ) -> ReferenceSources:
        folder = tmp_path / "sources"
        folder.mkdir(exist_ok=True)
        texts = {"genome.fa": fasta, "genes.gtf": gtf, "blacklist.bed": blacklist}
        texts["genome.fa"] = fasta_text() if fasta is None else fasta
        texts["genes.gtf"] = gtf_text() if gtf is None else gtf
        paths = []
        for name, text in texts.items():
            assert text is not None
            paths.append(folder / name)
            content = text.encode()
            paths[-1].write_bytes(gzip.compress(content) if packed else content)
        return ReferenceSources(*paths)

    return make


def tarball(path: Path, members: dict[str, bytes], top: str = "refdata-x") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"{top}/{name}" if top else name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("packed", [True, False], ids=["gzipped", "plain"])
def test_reference_is_written_in_one_form(
    sources: Callable[..., ReferenceSources], tmp_path: Path, packed: bool
) -> None:
    out = tmp_path / "reference"
    build_reference(sources(packed=packed), out, CHROMOSOMES)
    assert sorted(p.name for p in out.iterdir()) == [
        "blacklist.bed",
        "chrom_sizes.tsv",
        "genes.gtf",
        "genome.fa",
        "genome.fa.fai",
    ]
    assert (out / "genome.fa").read_text() == fasta_text()
    assert (out / "chrom_sizes.tsv").read_text() == "chr2\t900\nchr1\t1200\nchrM\t300\n"
    assert (out / "genome.fa.fai").read_text().startswith("chr2\t900\t8\t60\t61\n")
    assert (out / "blacklist.bed").read_text() == "chr2\t0\t900\nchr1\t50\t60\nchr1\t100\t200\n"
    assert (out / "genes.gtf").read_text() == gtf_text()


def test_ten_x_tarball_holds_sequence_and_genes(
    sources: Callable[..., ReferenceSources], tmp_path: Path
) -> None:
    members = {
        "star/genome.fa.txt": b"not this",
        "fasta/genome.fa": fasta_text().encode(),
        "genes/genes.gtf.gz": gzip.compress(gtf_text().encode()),
        "regions/motifs.pfm": b"nor this",
    }
    packed = tarball(tmp_path / "refdata.tar.gz", members)
    assert is_tar(packed)
    out = tmp_path / "reference"
    build_reference(ReferenceSources(packed, None, sources().blacklist), out, CHROMOSOMES)
    assert (out / "genome.fa").read_text() == fasta_text()
    assert (out / "genes.gtf").read_text() == gtf_text()

    unpack_arc_reference(packed, tmp_path / "arc")
    assert (tmp_path / "arc" / "fasta" / "genome.fa").read_bytes() == members["fasta/genome.fa"]
    assert sorted(p.name for p in (tmp_path / "arc").iterdir()) == [
        "fasta",
        "genes",
        "regions",
        "star",
    ]


def test_ensembl_genes_get_type_and_name(
    sources: Callable[..., ReferenceSources], tmp_path: Path
) -> None:
    named = gtf_text('gene_id "E1"; gene_name "ABC1"; gene_biotype "lncRNA"')
    unnamed = gtf_text('gene_id "E2"; gene_biotype "lncRNA";', "chr2")
    build_reference(sources(gtf=named + unnamed), tmp_path / "reference", CHROMOSOMES)
    genes = [
        line.rpartition("\t")[2]
        for line in (tmp_path / "reference" / "genes.gtf").read_text().splitlines()
        if "\tgene\t" in line
    ]
    assert genes == [
        'gene_id "E1"; gene_name "ABC1"; gene_biotype "lncRNA"; gene_type "lncRNA";',
        'gene_id "E2"; gene_biotype "lncRNA"; gene_name "E2"; gene_type "lncRNA";',
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gtf": gtf_text(chrom="1")}, r"1 chromosomes are not in the genome \(first: 1, 4 of 4"),
        ({"gtf": gtf_text('gene_name "A"; gene_type "x";')}, r"4 lines have no gene_id \(first: l"),
        ({"gtf": gtf_text('gene_id "A"; gene_name "A";')}, "4 lines have no gene_type"),
        ({"gtf": gtf_text('gene_id "A"; gene_type "x";')}, "none of its 1 genes has a gene_name"),
        ({"gtf": "##nothing\n"}, "it has no `gene` line; it has no `exon` line"),
        ({"gtf": "chr1 spaces\n"}, "line 1 has 1 columns, a GTF has 9"),
        ({"blacklist": "chr1\t5\t9\n22\t1\t2\n"}, "1 of 2 regions are on unknown.*22:1-2"),
        ({"blacklist": "chr1\t5\t9999\n"}, "1 of 1 regions are outside or empty"),
        ({"blacklist": "chr1\tx\t9\n"}, "line 1 is no BED"),
        ({"fasta": ">chr1\nACGT\n"}, r"lacks 2 of the 3 chromosomes.*first: chr2; it has chr1"),
        ({"fasta": ""}, "no sequence|cannot be indexed"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    sources: Callable[..., ReferenceSources],
    tmp_path: Path,
    changes: dict[str, str],
    message: str,
) -> None:
    with pytest.raises(AcquireError, match=message):
        build_reference(sources(**changes), tmp_path / "reference", CHROMOSOMES)


def test_nothing_is_left_of_a_reference_that_does_not_fit(
    sources: Callable[..., ReferenceSources], tmp_path: Path
) -> None:
    with pytest.raises(AcquireError):
        build_reference(sources(gtf=gtf_text(chrom="1")), tmp_path / "reference", CHROMOSOMES)
    assert list((tmp_path / "reference").iterdir()) == []


def test_damaged_or_lacking_sources_are_named(
    sources: Callable[..., ReferenceSources], tmp_path: Path
) -> None:
    good = sources()
    good.fasta.write_bytes(good.fasta.read_bytes()[:-20])
    with pytest.raises(AcquireError, match=r"genome\.fa is damaged"):
        build_reference(good, tmp_path / "reference", CHROMOSOMES)
    lacking = ReferenceSources(tmp_path / "absent.fa", good.annotation, good.blacklist)
    with pytest.raises(AcquireError, match=r"absent\.fa does not exist"):
        build_reference(lacking, tmp_path / "reference", CHROMOSOMES)
    alone = ReferenceSources(sources().fasta, None, good.blacklist)
    with pytest.raises(AcquireError, match=r"annotation is null.*no 10x reference \(tarball"):
        build_reference(alone, tmp_path / "reference", CHROMOSOMES)


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped-from-tarball"])
def test_tarball_cannot_write_outside(tmp_path: Path, name: str) -> None:
    members = {name: b"x", "fasta/genome.fa": b">a\nA\n", "genes/genes.gtf": b"x"}
    packed = tarball(tmp_path / "bad.tar.gz", members, top="")
    target = tmp_path / "deep" / "arc"
    if name.startswith("/"):  # an absolute name loses its slash and stays inside
        unpack_arc_reference(packed, target)
        assert (target / name.lstrip("/")).exists()
    else:
        with pytest.raises(AcquireError, match="not safe to unpack"):
            unpack_arc_reference(packed, target)
        assert not target.exists()
    assert not Path("/tmp/escaped-from-tarball").exists()
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "../../outside"),
        (tarfile.SYMTYPE, "/etc"),
        (tarfile.LNKTYPE, "../outside"),
        (tarfile.LNKTYPE, "/etc/passwd"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_tarball_cannot_link_outside_or_make_devices(
    tmp_path: Path, kind: bytes, target: str
) -> None:
    (tmp_path / "outside").mkdir()
    packed = tmp_path / "bad.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        member = tarfile.TarInfo("fasta")
        member.type, member.linkname = kind, target
        archive.addfile(member)
        content = tarfile.TarInfo("fasta/genome.fa")
        content.size = 5
        archive.addfile(content, io.BytesIO(b">a\nA\n"))
    with pytest.raises(AcquireError, match="bad.tar.gz is not safe to unpack.*Do not use it"):
        unpack_arc_reference(packed, tmp_path / "deep" / "arc")
    assert list((tmp_path / "outside").iterdir()) == []
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """A 10x reference in a folder, as its tarball unpacks."""
    folder = tmp_path / "refdata-x"
    offset, rows = 0, []
    for line in fasta_text().splitlines():
        offset += len(line) + 1
        if line.startswith(">"):
            rows.append([line[1:].split()[0], SEQUENCE[line[1:].split()[0]], offset, 60, 61])
    fai = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    texts = {
        "fasta/genome.fa": fasta_text().encode(),
        "fasta/genome.fa.fai": fai.encode(),
        "genes/genes.gtf.gz": gzip.compress(gtf_text().encode()),
        "star/chrNameLength.txt": "".join(f"{n}\t{s}\n" for n, s in SEQUENCE.items()).encode(),
        "reference.json": b"{}",
    }
    for name, content in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_an_unpacked_reference_is_taken_as_it_lies(
    sources: Callable[..., ReferenceSources], unpacked: Path, tmp_path: Path
) -> None:
    out = tmp_path / "reference"
    build_reference(ReferenceSources(unpacked, None, sources().blacklist), out, CHROMOSOMES)
    assert (out / "genome.fa").read_text() == fasta_text()
    assert (out / "genes.gtf").read_text() == gtf_text()
    unpack_arc_reference(unpacked, tmp_path / "arc")
    assert (tmp_path / "arc/fasta/genome.fa").read_text() == fasta_text()
    shutil.rmtree(tmp_path / "arc")  # links: what was given stays
    assert (unpacked / "fasta/genome.fa").exists()
    check_md5(unpacked, "0")


def cut_short(folder: Path) -> None:
    path = folder / "fasta" / "genome.fa"
    path.write_bytes(path.read_bytes()[:-10])


def other_star(folder: Path) -> None:
    (folder / "star/chrNameLength.txt").write_text("chr1\t1200\nchr2\t901\nchrM\t300\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "genes/genes.gtf.gz").unlink(), "no genes/genes.gtf; is it a"),
        (lambda folder: shutil.rmtree(folder / "fasta"), "no fasta/genome.fa; is it a 10x"),
        (cut_short, "fasta/genome.fa ends before chrM does. Fetch it again"),
        (other_star, r"fasta/ and star/ are of different genomes \(2 names or lengths differ, f"),
    ],
)
def test_an_unpacked_reference_that_is_not_whole(
    sources: Callable[..., ReferenceSources],
    unpacked: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    damage(unpacked)
    with pytest.raises(AcquireError, match=message):
        unpack_arc_reference(unpacked, tmp_path / "arc")
    assert not (tmp_path / "arc").exists()
    with pytest.raises(AcquireError, match=message):
        given = ReferenceSources(unpacked, None, sources().blacklist)
        build_reference(given, tmp_path / "reference", CHROMOSOMES)


def test_a_local_file_is_checked_against_its_md5(tmp_path: Path) -> None:
    path = tmp_path / "refdata.tar.gz"
    path.write_bytes(b"x")
    check_md5(path, None)
    check_md5(path, "9dd4e461268c8034f5c8564e155c67a6")
    with pytest.raises(AcquireError, match="has MD5 9dd4e461.*reference.md5 is 2f12"):
        check_md5(path, "2f12f6016197869e21e5559827002716")


def test_an_annotation_of_another_build(tmp_path: Path) -> None:
    raw = tmp_path / "genes.gtf"
    raw.write_text(gtf_text().replace("\t700\t", "\t249200000\t"))
    with pytest.raises(
        AcquireError, match=r"3 lines lie beyond .* chr1:101-249200000\).*is GRCh38 \(hg38\)"
    ):
        normalise_gtf(raw, tmp_path / "made.gtf", {"chr1": 248_956_422}, shown=raw)


def test_other_tarballs_are_refused(
    sources: Callable[..., ReferenceSources], tmp_path: Path
) -> None:
    other = tarball(tmp_path / "other.tar.gz", {"a.txt": b"x"})
    with pytest.raises(AcquireError, match="no member like .*is it a 10x reference"):
        build_reference(
            ReferenceSources(other, None, sources().blacklist), tmp_path / "r", CHROMOSOMES
        )
    with pytest.raises(AcquireError, match="has no fasta/genome.fa"):
        unpack_arc_reference(other, tmp_path / "arc")
    with pytest.raises(AcquireError, match="is no tarball"):
        unpack_arc_reference(sources().fasta, tmp_path / "arc")


@pytest.mark.skipif(
    shutil.which("STAR") is None or shutil.which("bwa") is None, reason="needs STAR and bwa on PATH"
)
def test_indexes_hold_what_aligners_read(
    sources: Callable[..., ReferenceSources], tmp_path: Path
) -> None:
    out = tmp_path / "reference"
    build_reference(sources(), out, CHROMOSOMES)
    index_bwa(out / "genome.fa", out / "bwa" / "genome.fa")
    assert sorted(p.suffix for p in (out / "bwa").iterdir()) == sorted(BWA_SUFFIXES)
    index_star(out / "genome.fa", out / "genes.gtf", out / "star", index_bases=4, threads=1)
    assert (out / "star" / "SAindex").exists()
    assert (out / "star" / "chrName.txt").read_text().split() == list(SEQUENCE)
    assert (out / "star" / "sjdbList.out.tab").read_text().startswith("chr1\t301\t500")
    assert sorted(p.name for p in out.iterdir() if p.name.startswith(".")) == []


def test_failed_program_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("bwa"):
        with pytest.raises(ToolError, match="bwa failed with code"):
            index_bwa(tmp_path / "absent.fa", tmp_path / "bwa" / "genome.fa")
        assert list((tmp_path / "bwa").iterdir()) == []
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="STAR is not on PATH"):
        index_star("g.fa", "g.gtf", tmp_path / "star", index_bases=4, threads=1)
