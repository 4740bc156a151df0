"""Accessions of all kinds to verified reads, by a server that fails in every way it can."""

import csv
import gzip
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from archives import Archives
from file_server import FileServer, serving
from multiome_reads import Multiome, barcode_lists

from epifoundation.samples import COLUMNS

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "stand_ins" / "bin"
N_READS = 8_000
GOOD = ("encode", "geo", "sra", "url")
BAD = {
    "mouse": "sample mouse: GSM90 is of Mus musculus, not of Homo sapiens",
    "rna_alone": "sample rna_alone: GSE9 has 0 samples of ATAC-seq, expected one",
    "controlled": "EGAD00001 is under controlled access",
    "unlisted": "GSM77",
    "mispaired": "the RNA and ATAC reads are not of the same cells",
    "liar": "could not be fetched in 3 attempts (last: the transfer ended after",
}


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as files:
        yield files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def samples(folder: Path) -> dict[str, Multiome]:
    rng = np.random.default_rng(0)
    lists = barcode_lists(rng)
    for name, words in zip(("gex", "atac"), lists, strict=True):
        (folder / f"{name}.txt.gz").write_bytes(gzip.compress(b"\n".join(words), 1))
    return {name: Multiome.make(lists, N_READS, rng) for name in GOOD}


def fill(archives: Archives, samples: dict[str, Multiome], folder: Path) -> list[dict[str, str]]:
    """Put the samples into the archives; return the rows of the sheet."""
    rows = {}
    for accession, library in (("ENCSR0RNA", "gex"), ("ENCSR0ATA", "atac")):
        archives.encode(accession, samples["encode"], library)
    rows["encode"] = ("ENCODE", "ENCSR0RNA", "ENCSR0ATA")
    geo = samples["geo"]  # ENA's FASTQ of the ATAC lacks the barcode read, the archived run has it
    archives.ena(1, "gex", {f"SRR1_{i}.fastq.gz": geo.fastq("gex", f"R{i}") for i in (1, 2)})
    archives.ena(
        2, "atac", {f"SRR2_{i}.fastq.gz": geo.fastq("atac", f"R{2 * i - 1}") for i in (1, 2)}
    )
    archives.archived(2, geo.archived_run("atac", "R2"))
    archives.series("GSE1", {1: "gex", 2: "atac"})
    rows["geo"] = ("GEO", archives.geo(1, "gex"), "GSE1")
    archives.geo(2, "atac")
    sra = samples["sra"]  # the RNA was submitted as BAM, the ATAC as FASTQ
    bam = {"gex_possorted.bam.1": sra.bam(folder / "made.bam")}
    fastq = {f"a_S1_L001_R{i}_001.fastq.gz": sra.fastq("atac", f"R{i}") for i in (1, 2, 3)}
    rows["sra"] = ("SRA", archives.ena(3, "gex", bam, "submitted"),
                   archives.ena(4, "atac", fastq, "submitted"))  # fmt: skip
    gex, atac = (archives.plain("url", samples["url"], library) for library in ("gex", "atac"))
    rows["url"] = ("URL", gex, atac)
    rows["mouse"] = ("GEO", archives.geo(90, "gex", "Mus musculus"), "GSM2")
    archives.series("GSE9", {1: "gex"})
    rows["rna_alone"] = ("GEO", "GSM1", "GSE9")
    rows["controlled"] = ("GEO", "EGAD00001", "GSM2")
    rows["unlisted"] = ("GEO", "GSM77", "GSM2")
    gex, atac = (
        archives.plain("other", samples["url"], "gex"),
        archives.plain("liar", samples["url"], "atac"),
    )
    rows["mispaired"] = ("URL", gex, archives.plain("other", samples["sra"], "atac"))
    rows["liar"] = ("URL", archives.plain("liar", samples["url"], "gex"), atac)
    common = dict.fromkeys(COLUMNS, "") | {"atlas": "a", "role": "atlas", "tissue": "blood"}
    common |= {"entry": "fastq", "disco_atlas": "blood"}
    return [
        common | {"sample": name, "source": source, "rna": rna, "atac": atac}
        for name, (source, rna, atac) in rows.items()
    ]


def inject(server: FileServer, archives: Archives) -> None:
    """Let every way to fail happen to files that are right in the end."""
    data = [path for path in server.files if is_data(path)]
    first = {kind: next(p for p in data if kind in p) for kind in ("encode", "SRR1", "SRR3", "url")}
    ways = [
        [("redirect", 0)],
        [("status", 429), ("status", 503)],
        [("html", 0), ("no range", 0)],
        [("shortened", 40_000), ("status", 500)],
        [("changed", 0)],
        [("lie", 1000)],
    ]
    encode = [p for p in data if p.startswith("/encode/")]
    for path, way in zip([*encode[:4], first["SRR3"], first["url"]], ways, strict=True):
        server.late_faults[path] = way
    moved = f"/elsewhere{encode[0]}?signature=x"
    server.files[moved] = server.files[encode[0]]
    server.late_faults[moved] = [("broken", 50_000)]
    server.late_faults["/sra-pub-run-odp/sra/SRR2/SRR2"] = [("broken", 300_000)]
    for path in data:
        if "/url/" in path:  # without a checksum, by this a later job knows what it goes on with
            server.etags[path] = f'"{len(server.files[path])}"'
    hosts = archives.hosts
    asked = [hosts.ena_runs("SRX1"), hosts.geo_samples("GSE1"), hosts.located("SRR2")]
    for address in [*asked, hosts.encode_object("experiments", "ENCSR0RNA")]:
        server.faults[address.removeprefix(server.url)] = [("status", 429), ("status", 503)]
    server.late_faults[next(p for p in data if "/liar/" in p)] = [("shortened", 30_000)] * 99


class Workflow:
    """Snakemake on the sheet, in a folder of its own."""

    def __init__(self, folder: Path, rows: list[dict[str, str]], archives: Archives) -> None:
        self.folder = folder
        lines = ["\t".join(COLUMNS), *("\t".join(row[c] for c in COLUMNS) for row in rows)]
        (folder / "samples.tsv").write_text("\n".join(lines) + "\n")
        lists = {f"whitelist_{name}": str(folder / f"{name}.txt.gz") for name in ("gex", "atac")}
        overlay = {
            "results_dir": str(folder / "results"),
            "samples": str(folder / "samples.tsv"),
            "acquire": {"retries": 2, "keep_fastq": True},
            "align": lists,
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(overlay))
        path = os.pathsep.join(
            [str(PROGRAMS), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        hosts = {f"EPIFOUNDATION_{n.upper()}": url for n, url in archives.addresses().items()}
        self.environment = os.environ | hosts | {"PATH": path, "SLURM_CONF": os.devnull}

    def start(self, *names: str) -> subprocess.Popen[str]:
        options = ["--cores", "16", "--keep-going", "--nolock", "--rerun-incomplete"]
        options += ["--configfile", str(self.folder / "config.yaml"), "--quiet", "rules"]
        command = [sys.executable, "-m", "snakemake", *options, "--"]
        command += [str(self.folder / "results" / "fastq" / name) for name in names]
        return subprocess.Popen(
            command, cwd=ROOT, env=self.environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def kill_after(self, n_bytes: float, server: FileServer, *names: str) -> None:
        with self.start(*names) as run:
            while sum(server.served.values()) < n_bytes:
                assert run.poll() is None, run.stdout and run.stdout.read()
                time.sleep(0.01)
            os.killpg(run.pid, signal.SIGKILL)

    def at_hand(self) -> tuple[dict[tuple[str, str], int], dict[str, int]]:
        """Return the inodes of whole FASTQ files, and what is here of each address, in bytes.

        Of samples on their way: a folder whose job was killed as it ended is Snakemake's, which
        has it made again.
        """
        whole, n_bytes = {}, {}
        for name in GOOD:
            manifest = self.folder / "results" / "acquire" / name / "manifest.tsv"
            incoming = self.folder / "results" / "fastq" / f".incoming-{name}"
            if not incoming.exists() or list(incoming.glob(".reads-*")):
                continue
            for row in csv.DictReader(manifest.read_text().splitlines(), delimiter="\t"):
                file = incoming / row["file"]
                part = incoming / f"{row['file']}.part"
                if file.exists() and row["route"] == "fastq":
                    whole[name, row["file"]] = file.stat().st_ino
                here = [p.stat().st_size for p in (file, part) if p.exists()]
                n_bytes["/" + row["url"].split("/", 3)[3]] = sum(here)
        return whole, n_bytes

    def finish(self, *names: str) -> str:
        with self.start(*names) as run:
            return run.communicate()[0]


def test_accessions_of_all_kinds_become_verified_reads(
    server: FileServer, samples: dict[str, Multiome], folder: Path
) -> None:
    archives = Archives(server)
    rows = fill(archives, samples, folder)
    inject(server, archives)
    workflow = Workflow(folder, rows, archives)
    files = [path for path in server.files if is_data(path)]
    wanted = sum(len(server.files[p]) for p in files if not re.search("/liar/|/other/|SRR2_", p))
    server.seconds_a_piece = 0.02
    share = random.uniform(0.05, 0.7)
    workflow.kill_after(share * wanted, server, *GOOD)
    time.sleep(0.5)  # until the server has noticed
    server.seconds_a_piece = 0.0
    whole, at_hand = workflow.at_hand()
    before = dict(server.served)
    said = workflow.finish(*GOOD, *BAD)

    killed = f"killed after {share:.3f} of the bytes"
    for name in GOOD:  # nothing wrong was accepted, nothing right was lost
        found = folder / "results" / "fastq" / name
        for (library, read), records in samples[name].reads.items():
            file = found / f"{library}_L001_{read}.fastq.gz"
            bases = gzip.decompress(file.read_bytes()).split(b"\n")[1::4]
            assert bases == [sequence for sequence, _ in records], f"{file}, {killed}"
        assert len(list(found.glob("*.gz"))) == len(list(found.glob("[!.]*"))) == 5
    for name, message in BAD.items():  # one line each, and the others went on
        assert not (folder / "results" / "fastq" / name).exists()
        assert [s for s in said.splitlines() if s.startswith("error: ") and message in s], said
    assert "Traceback" not in said
    faults = server.faults | {p: f for p, f in server.late_faults.items() if "/liar/" not in p}
    assert not any(faults.values()), f"a fault did not happen, {killed}"

    # nothing right was fetched twice: whole files stayed, others went on where they broke
    for (name, file), number in whole.items():
        assert (folder / "results" / "fastq" / name / file).stat().st_ino == number, killed
    for path, n_bytes in at_hand.items():
        if path not in server.late_faults:
            came = server.served[path] - before.get(path, 0)
            assert came == len(server.files[path]) - n_bytes, f"{path}, {killed}"


def is_data(path: str) -> bool:
    return path.endswith((".fastq.gz", ".bam.1", "/SRR2"))
