"""Accessions to manifests, against answers in the shapes the archives give."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from file_server import FileServer

from epifoundation.acquire.catalogue import INDEX
from epifoundation.acquire.hosts import Hosts
from epifoundation.acquire.resolve import Accessions, resolve
from epifoundation.acquire.roles import ReadFile, assign_reads
from epifoundation.config import AcquireConfig
from epifoundation.errors import AcquireError

MD5 = "0123456789abcdef0123456789abcdef"
INDEX_HEADER = list(INDEX.dtypes)
LAYOUT = {"gex": {"R1": 28, "R2": 90}, "atac": {"R1": 50, "R2": 24, "R3": 49}}


def settings(catalogue: str | None = None) -> AcquireConfig:
    return AcquireConfig(catalogue=catalogue, parallel_downloads=2, retries=0, keep_fastq=False)


def hosts(server: FileServer) -> Hosts:
    return Hosts(
        encode=server.url,
        ena=server.url,
        ena_files="http://",
        geo=server.url,
        eutils=server.url,
        locator=server.url,
    )


# ---- catalogue


def index_rows() -> list[dict[str, object]]:
    return [
        {
            "accession": f"A1{library[0]}",
            "file": f"{library}_{lane}_{read}.fastq.gz",
            "url": f"A1/{library}_{lane}_{read}.fastq.gz",
            "bytes": 100,
            "md5": MD5,
            "library": library,
            "lane": lane,
            "read": read,
            "read_length": length,
        }
        for library, reads in LAYOUT.items()
        for lane in ("L001", "L002")
        for read, length in reads.items()
    ]


def index_text(rows: list[dict[str, object]]) -> bytes:
    lines = [INDEX_HEADER, *([str(row[name]) for name in INDEX_HEADER] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines).encode()


CATALOGUE_SAMPLE = Accessions("s1", "catalogue", rna="A1g", atac="A1a")


@pytest.mark.parametrize("kind", ["server", "folder", "file URL"])
def test_catalogue_lists_lanes_and_reads_in_order(
    server: FileServer, tmp_path: Path, kind: str
) -> None:
    text = index_text(index_rows()[::-1])
    server.files["/archive/index.tsv"] = text
    (tmp_path / "index.tsv").write_bytes(text)
    catalogue = {
        "server": f"{server.url}/archive/",
        "folder": str(tmp_path),
        "file URL": tmp_path.as_uri(),
    }[kind]
    manifest = resolve(CATALOGUE_SAMPLE, settings(catalogue))
    assert list(manifest["file"]) == [
        f"{library}_{lane}_{read}.fastq.gz"
        for library, reads in LAYOUT.items()
        for lane in ("L001", "L002")
        for read in reads
    ]
    base = f"{server.url}/archive" if kind == "server" else tmp_path.as_uri()
    assert manifest["url"][0] == f"{base}/A1/gex_L001_R1.fastq.gz"


def test_catalogue_without_roles_or_lanes_is_read_by_length(tmp_path: Path) -> None:
    rows = index_rows()
    for number, row in enumerate(rows):
        row.update(read="", lane="", url=f"f{number}.gz")
    (tmp_path / "index.tsv").write_bytes(index_text(rows))
    manifest = resolve(CATALOGUE_SAMPLE, settings(str(tmp_path)))
    barcode_reads = manifest[(manifest["library"] == "atac") & (manifest["read"] == "R2")]
    wanted = [f"f{n}.gz" for n, row in enumerate(rows) if row["read_length"] == 24]
    assert [url.rpartition("/")[2] for url in barcode_reads["url"]] == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rna": "A9"}, "sample s1: A9: .*index.tsv lists no such accession.*A1g, A1a"),
        ({"atac": "A1g"}, "sample s1: A1g: .*index.tsv lists only gex files"),
        ({"source": "here"}, "source is 'here'; only GEO, SRA, ENCODE, catalogue, URL hold"),
    ],
    ids=["unknown", "other library", "source"],
)
def test_unknown_accession_is_one_clear_line(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    (tmp_path / "index.tsv").write_bytes(index_text(index_rows()))
    sample = Accessions(**(vars(CATALOGUE_SAMPLE) | change))
    with pytest.raises(AcquireError, match=message) as caught:
        resolve(sample, settings(str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_index_that_breaks_its_contract_is_named(server: FileServer) -> None:
    rows = index_rows()
    rows[3]["md5"] = ""
    server.files["/index.tsv"] = index_text(rows)
    with pytest.raises(AcquireError, match=f"{server.url}/index.tsv breaks.*(?s:.)*'md5' is empty"):
        resolve(CATALOGUE_SAMPLE, settings(server.url))


def test_catalogue_needs_to_be_configured_and_there(tmp_path: Path) -> None:
    with pytest.raises(AcquireError, match=r"needs acquire\.catalogue"):
        resolve(CATALOGUE_SAMPLE, settings())
    with pytest.raises(AcquireError, match=r"index\.tsv does not exist"):
        resolve(CATALOGUE_SAMPLE, settings(str(tmp_path)))


def test_catalogue_on_a_server_may_not_name_local_files(server: FileServer) -> None:
    rows = index_rows()
    rows[0]["url"] = "file:///etc/hostname"
    server.files["/index.tsv"] = index_text(rows)
    with pytest.raises(AcquireError, match="points at a local file"):
        resolve(CATALOGUE_SAMPLE, settings(server.url))


# ---- roles


def read_files(*described: tuple[str, str, int | None]) -> list[ReadFile]:
    return [
        ReadFile(name, f"http://x/{name}", 1, MD5, "SRR1", "1", read, length)
        for name, read, length in described
    ]


@pytest.mark.parametrize(
    ("library", "described", "expected"),
    [
        ("gex", [("1", "", 91), ("2", "", 28)], ["2", "1"]),
        ("gex", [("1", "", 8), ("2", "", 28), ("3", "", 50)], ["2", "3"]),
        ("gex", [("1", "R1", 150), ("2", "R2", 150)], ["1", "2"]),
        ("gex", [("1", "R1", None), ("2", "R2", None), ("3", "I1", None)], ["1", "2"]),
        ("atac", [("1", "", 24), ("2", "", 50), ("3", "", 49)], ["2", "1", "3"]),
        ("atac", [("1", "", 8), ("2", "", 50), ("3", "", 16), ("4", "", 50)], ["2", "3", "4"]),
        ("atac", [("1", "R1", 50), ("2", "R2", 49), ("3", "I2", 16)], ["1", "3", "2"]),
        ("atac", [("1", "R3", None), ("2", "R2", None), ("3", "R1", None)], ["3", "2", "1"]),
    ],
)
def test_roles_follow_read_lengths(
    library: str, described: list[tuple[str, str, int | None]], expected: list[str]
) -> None:
    found = assign_reads(read_files(*described), library, run="SRR1", hint="")
    assert [found[read].name for read in sorted(found)] == expected


@pytest.mark.parametrize(
    ("library", "described", "message"),
    [
        ("atac", [("a", "", 50), ("b", "", 49)], r"SRR1: the ATAC barcode read \(16 or 24 bases\)"),
        ("atac", [("a", "", 50), ("b", "", 24)], "1 files look like the ATAC genomic reads"),
        ("atac", [("a", "", 24), ("b", "", 16)], "2 files look like the ATAC barcode read"),
        ("gex", [("a", "", 150), ("b", "", 150)], r"the GEX barcode read \(28 bases\) is lacking"),
        ("gex", [("a", "", 28)], "0 files look like the GEX cDNA read"),
        ("gex", [], "SRR1: the GEX barcode read .* Found: no file"),
    ],
)
def test_lacking_read_is_named_with_what_was_found(
    library: str, described: list[tuple[str, str, int | None]], message: str
) -> None:
    with pytest.raises(AcquireError, match=message) as caught:
        assign_reads(read_files(*described), library, run="SRR1", hint="Do this.")
    assert str(caught.value).endswith("Do this.")


# ---- ENCODE


def encode_fastq(accession: str, **changes: object) -> dict[str, object]:
    return {
        "@id": f"/files/{accession}/",
        "accession": accession,
        "file_format": "fastq",
        "output_type": "reads",
        "status": "released",
        "href": f"/files/{accession}/@@download/{accession}.fastq.gz",
        "md5sum": MD5,
        "file_size": 1000,
        "replicate": {"biological_replicate_number": 1, "technical_replicate_number": 1},
    } | changes


def encode_experiment(accession: str, library: str) -> dict[str, object]:
    """Two lanes whose accessions are in no helpful order, and files that must not be taken."""
    files = []
    for lane, key in (("2", "A"), ("1", "B")):
        names = {read: f"ENCFF{library[0].upper()}{read}{key}" for read in LAYOUT[library]}
        ids = {read: f"/files/{name}/" for read, name in names.items()}
        last = "R3" if library == "atac" else "R2"
        flowcell = [{"flowcell": "HXX", "lane": lane}]
        for read, paired_end, mate in (("R1", "1", last), (last, "2", "R1")):
            files.append(
                encode_fastq(
                    names[read],
                    paired_end=paired_end,
                    paired_with=ids[mate],
                    read_length=LAYOUT[library][read],
                    flowcell_details=flowcell,
                )
            )
        if library == "atac":
            files.append(
                encode_fastq(
                    names["R2"],
                    output_type="index reads",
                    read_length=24,
                    index_of=[ids["R1"], ids["R3"]],
                    flowcell_details=flowcell,
                )
            )
    second = {"biological_replicate_number": 2, "technical_replicate_number": 1}
    files += [
        encode_fastq("ENCFFOLD", status="archived", paired_end="1"),
        encode_fastq("ENCFFFLT", output_type="filtered reads", paired_end="1"),
        encode_fastq("ENCFFREP", paired_end="1", replicate=second),
        encode_fastq("ENCFFBAM", file_format="bam", output_type="alignments"),
    ]
    assay = {"gex": "single-cell RNA sequencing assay", "atac": "single-nucleus ATAC-seq"}
    return {"accession": accession, "assay_term_name": assay[library], "files": files}


@pytest.fixture
def encode(server: FileServer) -> FileServer:
    gex, atac = encode_experiment("ENCSR0RNA", "gex"), encode_experiment("ENCSR0ATA", "atac")
    brief = [{k: v for k, v in part.items() if k != "files"} for part in (gex, atac)]
    assays = [part["assay_term_name"] for part in (gex, atac)]
    series = {"accession": "ENCSR0SER", "assay_term_name": assays, "related_datasets": brief}
    series["files"] = ["/files/ENCFFSUMMARY/"]
    for record in (gex, atac, series):
        path = f"/experiments/{record['accession']}/?format=json"
        server.files[path] = json.dumps(record).encode()
    return server


@pytest.mark.parametrize("by_series", [True, False], ids=["series", "experiments"])
def test_encode_gives_lanes_by_flow_cell_and_roles(encode: FileServer, by_series: bool) -> None:
    rna, atac = ("ENCSR0SER",) * 2 if by_series else ("ENCSR0RNA", "ENCSR0ATA")
    manifest = resolve(Accessions("heart", "ENCODE", rna, atac), settings(), hosts(encode))
    taken = dict(zip(manifest["file"], manifest["url"], strict=True))
    assert len(manifest) == 10
    assert taken["gex_L001_R1.fastq.gz"] == (
        f"{encode.url}/files/ENCFFGR1B/@@download/ENCFFGR1B.fastq.gz"
    )
    assert "ENCFFAR2A" in taken["atac_L002_R2.fastq.gz"]
    assert "ENCFFAR3A" in taken["atac_L002_R3.fastq.gz"]
    assert set(manifest["origin"]) == {"ENCSR0RNA", "ENCSR0ATA"}


def test_encode_files_may_be_links(encode: FileServer) -> None:
    path = "/experiments/ENCSR0ATA/?format=json"
    record = json.loads(encode.files[path])
    for file in record["files"]:
        encode.files[f"/files/{file['accession']}/?format=json"] = json.dumps(file).encode()
    record["files"] = [file["@id"] for file in record["files"]]
    encode.files[path] = json.dumps(record).encode()
    sample = Accessions("heart", "ENCODE", "ENCSR0RNA", "ENCSR0ATA")
    assert len(resolve(sample, settings(), hosts(encode))) == 10


def test_encode_without_index_reads_is_refused(encode: FileServer) -> None:
    path = "/experiments/ENCSR0ATA/?format=json"
    record = json.loads(encode.files[path])
    record["files"] = [f for f in record["files"] if f["output_type"] != "index reads"]
    encode.files[path] = json.dumps(record).encode()
    with pytest.raises(AcquireError, match="ENCSR0ATA: the ATAC barcode read"):
        resolve(Accessions("s", "ENCODE", "ENCSR0RNA", "ENCSR0ATA"), settings(), hosts(encode))


@pytest.mark.parametrize(
    ("rna", "atac", "message"),
    [
        ("ENCSR9XXX", "ENCSR0ATA", "ENCODE does not know ENCSR9XXX"),
        ("ENCSR0ATA", "ENCSR0RNA", "ENCSR0ATA is 'single-nucleus ATAC-seq' at ENCODE, not an RNA"),
    ],
)
def test_wrong_encode_accession_is_explained(
    encode: FileServer, rna: str, atac: str, message: str
) -> None:
    with pytest.raises(AcquireError, match=message):
        resolve(Accessions("s", "ENCODE", rna, atac), settings(), hosts(encode))


def changed_experiment(encode: FileServer, accession: str, **changes: object) -> dict[str, object]:
    path = f"/experiments/{accession}/?format=json"
    record = json.loads(encode.files[path]) | changes
    encode.files[path] = json.dumps(record).encode()
    return record


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "revoked"}, "ENCSR0RNA is revoked at ENCODE, not released"),
        (
            {
                "replicates": [
                    {"library": {"biosample": {"organism": {"scientific_name": "Mus musculus"}}}}
                ]
            },
            "ENCSR0RNA is of Mus musculus, not of Homo sapiens",
        ),
    ],
    ids=["withdrawn", "mouse"],
)
def test_encode_of_mouse_and_what_was_withdrawn_are_refused(
    encode: FileServer, changes: dict[str, object], message: str
) -> None:
    changed_experiment(encode, "ENCSR0RNA", **changes)
    with pytest.raises(AcquireError, match=message):
        resolve(Accessions("s", "ENCODE", "ENCSR0RNA", "ENCSR0ATA"), settings(), hosts(encode))


def test_encode_read_structure_tells_which_read_has_the_barcode(encode: FileServer) -> None:
    files = changed_experiment(encode, "ENCSR0RNA")["files"]
    assert isinstance(files, list)
    for file in files:  # paired_end is exchanged and no length is told
        first = file.get("paired_end") == "1" and file["output_type"] == "reads"
        element = "cell barcode" if first else "insert"
        file.pop("read_length", None)
        file["read_structure"] = [{"sequence_element": element, "start": 1, "end": 16}]
        file["paired_end"] = "2" if first else "1"
    changed_experiment(encode, "ENCSR0RNA", files=files)
    sample = Accessions("s", "ENCODE", "ENCSR0RNA", "ENCSR0ATA")
    manifest = resolve(sample, settings(), hosts(encode))
    gex = manifest[manifest["library"] == "gex"]
    assert [url.rpartition("ENCFFG")[2][:2] for url in gex["url"]] == list(gex["read"])


def test_series_with_two_experiments_of_a_kind_asks_for_a_choice(encode: FileServer) -> None:
    path = "/experiments/ENCSR0SER/?format=json"
    record = json.loads(encode.files[path])
    record["related_datasets"] *= 2
    encode.files[path] = json.dumps(record).encode()
    with pytest.raises(AcquireError, match="2 of its experiments are RNA.*column rna"):
        resolve(Accessions("s", "ENCODE", "ENCSR0SER", "ENCSR0SER"), settings(), hosts(encode))


# ---- GEO


@pytest.fixture
def geo(
    server: FileServer, fastq: Callable[[int], bytes], md5: Callable[[bytes], str]
) -> Callable[..., dict[str, str]]:
    """Adds a GEO sample with one run whose files (name: read length) ENA lists under `kind`."""

    def add(gsm: str, kind: str, files: dict[str, int], **changes: str) -> dict[str, str]:
        number = gsm.removeprefix("GSM")
        run = {"run_accession": f"SRR{number}", "experiment_accession": f"SRX{number}"}
        run["library_strategy"] = "RNA-Seq" if gsm == "GSM1" else "ATAC-seq"
        for name, length in files.items():
            server.files[f"/vol1/{name}"] = fastq(length)
        contents = [server.files[f"/vol1/{name}"] for name in files]
        host = server.url.removeprefix("http://")
        run |= {
            f"{kind}_ftp": ";".join(f"{host}/vol1/{name}" for name in files),
            f"{kind}_md5": ";".join(map(md5, contents)),
            f"{kind}_bytes": ";".join(str(len(content)) for content in contents),
        }
        run |= changes
        soft = (
            f"^SAMPLE = {gsm}\n!Sample_title = a title\n"
            f"!Sample_relation = BioSample: https://www.ncbi.nlm.nih.gov/biosample/SAMN{number}\n"
            f"!Sample_relation = SRA: https://www.ncbi.nlm.nih.gov/sra?term=SRX{number}\n"
        )
        bare = hosts(server)
        server.files[bare.geo_sample(gsm).removeprefix(server.url)] = soft.encode()
        server.files[bare.ena_runs(f"SRX{number}").removeprefix(server.url)] = json.dumps(
            [run]
        ).encode()
        return run

    return add


PAIR = Accessions("bmmc", "GEO", "GSM1", "GSM2")


def test_geo_sample_is_followed_to_files_with_roles(
    server: FileServer, geo: Callable[..., dict[str, str]]
) -> None:
    geo("GSM1", "fastq", {"SRR1_1.fastq.gz": 28, "SRR1_2.fastq.gz": 91, "SRR1.fastq.gz": 30})
    lanes = ("x_S1_L001", "x_S1_L002")
    reads = {"I1": 8, "R1": 50, "R2": 24, "R3": 49}
    geo(
        "GSM2",
        "submitted",
        {f"{lane}_{r}_001.fastq.gz": n for lane in lanes for r, n in reads.items()},
    )
    manifest = resolve(PAIR, settings(), hosts(server))
    assert list(manifest["file"]) == [
        "gex_L001_R1.fastq.gz",
        "gex_L001_R2.fastq.gz",
        *(f"atac_L00{n}_R{r}.fastq.gz" for n in (1, 2) for r in (1, 2, 3)),
    ]
    assert manifest["url"].iloc[-2] == f"{server.url}/vol1/x_S1_L002_R2_001.fastq.gz"
    assert set(manifest["origin"]) == {"SRR1", "SRR2"}
    assert all(r.startswith("bytes=0-") for p, r in server.asked if p.startswith("/vol1/"))


def locate(server: FileServer, run: str, files: dict[str, bytes], **changes: object) -> None:
    """Let the data locator list files of a run: open, and once more behind a payment."""
    listed = []
    for name, content in files.items():
        server.files[f"/open/{name}"] = content
        paid = {"service": "gs", "link": f"{server.url}/paid/{name}", "payRequired": True}
        link = {"service": "s3", "link": f"{server.url}/open/{name}", "payRequired": False}
        listed.append(
            {
                "type": "sra" if "." not in name else "bam",
                "name": name,
                "size": len(content),
                "md5": hashlib.md5(content).hexdigest(),
                "locations": [paid, link],
            }
            | changes
        )
    answer = {"version": "2", "result": [{"bundle": run, "status": 200, "files": listed}]}
    path = hosts(server).located(run).removeprefix(server.url)
    server.files[path] = json.dumps(answer).encode()


def test_run_without_its_barcode_read_is_taken_from_its_archived_form(
    server: FileServer, geo: Callable[..., dict[str, str]]
) -> None:
    geo("GSM1", "fastq", {"SRR1_1.fastq.gz": 28, "SRR1_2.fastq.gz": 91})
    geo("GSM2", "fastq", {"SRR2_1.fastq.gz": 50, "SRR2_2.fastq.gz": 49})
    with pytest.raises(AcquireError) as caught:
        resolve(PAIR, settings(), hosts(server))
    message = str(caught.value)
    assert "sample bmmc: SRR2 has no file with all ATAC reads" in message
    assert "FASTQ by ENA: the ATAC barcode read (16 or 24 bases) is lacking" in message
    assert "SRR2_1.fastq.gz (50 bases), SRR2_2.fastq.gz (49 bases)" in message
    assert "the .sra (for `fasterq-dump --include-technical`)" in message
    locate(server, "SRR2", {"SRR2": b"the archived run"})
    last = resolve(PAIR, settings(), hosts(server)).iloc[2]
    assert (last["file"], last["route"], last["read"]) == ("atac_SRR2.sra", "sra", "")
    assert last["url"] == f"{server.url}/open/SRR2"
    locate(server, "SRR2", {"SRR2": b"the archived run"}, locations=[])
    assert resolve(PAIR, settings(), hosts(server))["url"].iloc[2] == "prefetch:SRR2"


@pytest.mark.parametrize("keeper", ["ENA", "NCBI"])
def test_run_submitted_as_bam_is_taken_as_such(
    server: FileServer, geo: Callable[..., dict[str, str]], keeper: str
) -> None:
    bam = "ftp.sra.ebi.ac.uk/vol1/run/SRR176/SRR1/site1_gex.possorted_bam.bam.1"
    sure = {"submitted_bytes": "9", "submitted_md5": MD5} if keeper == "ENA" else {}
    geo("GSM1", "fastq", {"SRR1_1.fastq.gz": 91}, submitted_ftp=bam, **sure)
    geo("GSM2", "fastq", {"a_1.fastq.gz": 50, "a_2.fastq.gz": 24, "a_3.fastq.gz": 49})
    if keeper == "NCBI":
        with pytest.raises(AcquireError, match="SRR1.*site1_gex.*ENA tells no size and MD5"):
            resolve(PAIR, settings(), hosts(server))
        locate(server, "SRR1", {"site1_gex.possorted_bam.bam.1": b"bam", "SRR1": b"aligned"})
    row = resolve(PAIR, settings(), hosts(server)).iloc[0]
    assert (row["route"], row["file"]) == ("bam", "gex_site1_gex.bam")
    assert row["url"].startswith("http://ftp.sra" if keeper == "ENA" else server.url)


def test_runs_that_only_ncbi_knows_and_controlled_ones(
    server: FileServer, geo: Callable[..., dict[str, str]]
) -> None:
    geo("GSM1", "fastq", {"SRR1_1.fastq.gz": 28, "SRR1_2.fastq.gz": 91})
    geo("GSM2", "fastq", {"SRR2_1.fastq.gz": 50})
    own = hosts(server)
    del server.files[own.ena_runs("SRX2").removeprefix(server.url)]
    found = json.dumps({"esearchresult": {"idlist": ["7"]}}).encode()
    server.files[own.sra_search("SRX2").removeprefix(server.url)] = found
    table = "Run,Experiment,LibraryStrategy,ScientificName\nSRR2,SRX2,ATAC-seq,Homo sapiens\n\n"
    server.files[own.sra_runs(["7"]).removeprefix(server.url)] = table.encode()
    locate(server, "SRR2", {"SRR2": b"run"})
    assert resolve(PAIR, settings(), own)["origin"].iloc[2] == "SRR2"
    refused = {"result": [{"bundle": "SRR2", "status": 403, "msg": "request access to phs1"}]}
    server.files[own.located("SRR2").removeprefix(server.url)] = json.dumps(refused).encode()
    with pytest.raises(AcquireError, match="SRR2 is under controlled access.*phs1"):
        resolve(PAIR, settings(), own)
    with pytest.raises(AcquireError, match="EGAS00001005911 is under controlled access"):
        resolve(Accessions("s", "GEO", "EGAS00001005911", "GSM2"), settings(), own)


SOFT_SAMPLE = """^SAMPLE = {0}
!Sample_title = {1}
!Sample_organism_ch1 = {2}
!Sample_library_strategy = {3}
!Sample_relation = SRA: https://www.ncbi.nlm.nih.gov/sra?term=SRX{4}
"""


def test_series_is_its_one_sample_of_the_library(
    server: FileServer, geo: Callable[..., dict[str, str]]
) -> None:
    geo("GSM1", "fastq", {"SRR1_1.fastq.gz": 28, "SRR1_2.fastq.gz": 91})
    geo("GSM2", "fastq", {"a_1.fastq.gz": 50, "a_2.fastq.gz": 24, "a_3.fastq.gz": 49})
    rna = SOFT_SAMPLE.format("GSM1", "Donor 1 GEX", "Homo sapiens", "RNA-Seq", 1)
    atac = SOFT_SAMPLE.format("GSM2", "Donor 1 ATAC", "Homo sapiens", "ATAC-seq", 2)
    path = hosts(server).geo_samples("GSE9").removeprefix(server.url)
    server.files[path] = (rna + atac).encode()
    series = Accessions("s", "GEO", "GSE9", "GSE9")
    assert list(resolve(series, settings(), hosts(server))["origin"].unique()) == ["SRR1", "SRR2"]
    server.files[path] += rna.replace("GSM1", "GSM3").encode()
    with pytest.raises(AcquireError, match="2 samples of RNA-Seq.*GSM1 'Donor 1 GEX'; GSM3.*rna"):
        resolve(series, settings(), hosts(server))


@pytest.mark.parametrize("told_by", ["GEO", "ENA"])
def test_mouse_is_refused(
    server: FileServer, geo: Callable[..., dict[str, str]], told_by: str
) -> None:
    species = "Mus musculus"
    geo("GSM1", "fastq", {"SRR1_1.fastq.gz": 28}, scientific_name=species)
    if told_by == "GEO":
        path = hosts(server).geo_sample("GSM1").removeprefix(server.url)
        server.files[path] = SOFT_SAMPLE.format("GSM1", "x", species, "RNA-Seq", 1).encode()
    with pytest.raises(AcquireError, match="sample bmmc: GSM1 is of Mus musculus, not of Homo"):
        resolve(PAIR, settings(), hosts(server))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('Accession "GSM1" is currently private and is scheduled to be released on May 1, 2031.',
         "it is currently private and is scheduled to be released on May 1, 2031. Wait"),
        ('Accession "GSM1" was deleted by the GEO staff on Mar 12, 2020.', "it was deleted by"),
    ],
)  # fmt: skip
def test_private_and_withdrawn_samples_are_told_apart(
    server: FileServer, answer: str, message: str
) -> None:
    path = hosts(server).geo_sample("GSM1").removeprefix(server.url)
    server.files[path] = answer.encode()
    with pytest.raises(AcquireError, match=message):
        resolve(PAIR, settings(), hosts(server))


def test_exchanged_libraries_are_noticed(
    server: FileServer, geo: Callable[..., dict[str, str]]
) -> None:
    geo("GSM2", "fastq", {"SRR2_1.fastq.gz": 28, "SRR2_2.fastq.gz": 91})
    with pytest.raises(AcquireError, match="GSM2 is ATAC-seq in the archive, not RNA-Seq"):
        resolve(Accessions("s", "GEO", "GSM2", "GSM1"), settings(), hosts(server))


def test_unknown_or_private_geo_accession_is_explained(
    server: FileServer, geo: Callable[..., dict[str, str]]
) -> None:
    with pytest.raises(AcquireError, match="GEO does not show a sample GSM1"):
        resolve(PAIR, settings(), hosts(server))
    geo("GSM1", "fastq", {"SRR1_1.fastq.gz": 28})
    del server.files[hosts(server).ena_runs("SRX1").removeprefix(server.url)]
    with pytest.raises(AcquireError, match="GSM1: neither ENA nor NCBI lists a run of SRX1"):
        resolve(PAIR, settings(), hosts(server))
    path = hosts(server).geo_sample("GSM1").removeprefix(server.url)
    server.files[path] = b"^SAMPLE = GSM1\n!Sample_title = private reads\n"
    with pytest.raises(AcquireError, match="names no SRA experiment"):
        resolve(PAIR, settings(), hosts(server))


def test_hosts_come_from_the_environment() -> None:
    assert Hosts.from_environment({"EPIFOUNDATION_ENA": "http://mirror"}).ena == "http://mirror"
    assert Hosts.from_environment({}) == Hosts()
