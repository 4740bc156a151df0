"""ENA, GEO, NCBI, ENCODE and a plain server, as they answer for samples put into them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from file_server import FileServer
from multiome_reads import Multiome

from epifoundation.acquire.hosts import Hosts

LENGTH = {("gex", "R1"): 28, ("gex", "R2"): 90}
LENGTH |= {("atac", "R1"): 50, ("atac", "R2"): 24, ("atac", "R3"): 49}
STRATEGY = {"gex": "RNA-Seq", "atac": "ATAC-seq"}
ASSAY = {"gex": "single-cell RNA sequencing assay", "atac": "single-nucleus ATAC-seq"}
SOFT = """^SAMPLE = {gsm}
!Sample_title = Donor {number} {strategy}
!Sample_geo_accession = {gsm}
!Sample_organism_ch1 = {species}
!Sample_library_strategy = {strategy}
!Sample_relation = BioSample: https://www.ncbi.nlm.nih.gov/biosample/SAMN{number}
!Sample_relation = SRA: https://www.ncbi.nlm.nih.gov/sra?term=SRX{number}
"""


@dataclass
class Archives:
    """All archives on one server, each under a path of its own."""

    server: FileServer

    @property
    def hosts(self) -> Hosts:
        return Hosts(**self.addresses())

    def addresses(self) -> dict[str, str]:
        names = ("encode", "ena", "geo", "eutils", "locator")
        return {name: f"{self.server.url}/{name}" for name in names} | {"ena_files": "http://"}

    def put(self, url: str, body: bytes | object) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.server.files[url.removeprefix(self.server.url)] = content

    def plain(self, folder: str, sample: Multiome, library: str) -> str:
        """Put FASTQ on the plain server and return its addresses, with spaces between."""
        made = []
        for of, read in LENGTH:
            if of == library:
                made.append(f"{self.server.url}/{folder}/{library}_S1_L001_{read}_001.fastq.gz")
                self.put(made[-1], sample.fastq(library, read))
        return " ".join(made)

    def encode(self, accession: str, sample: Multiome, library: str) -> None:
        """Put an experiment into ENCODE: released files with declared reads, and an older one."""
        files = []
        names = {read: f"ENCFF{accession[-3:]}{read}" for of, read in LENGTH if of == library}
        mates = [read for read in names if (library, read) != ("atac", "R2")]
        for read, name in names.items():
            content = sample.fastq(library, read)
            href = f"/files/{name}/@@download/{name}.fastq.gz"
            self.put(f"{self.server.url}/encode{href}", content)
            file: dict[str, object] = {
                "@id": f"/files/{name}/", "accession": name, "href": href, "status": "released",
                "file_format": "fastq", "file_size": len(content),
                "md5sum": hashlib.md5(content).hexdigest(), "read_length": LENGTH[library, read],
                "replicate": {"biological_replicate_number": 1, "technical_replicate_number": 1},
            }  # fmt: skip
            if read in mates:
                file |= {"output_type": "reads", "paired_end": str(mates.index(read) + 1)}
                others = [f"/files/{names[m]}/" for m in mates if m != read]
                file |= {"paired_with": others[0]}
            else:
                linked = [f"/files/{names[m]}/" for m in mates]
                file |= {"output_type": "index reads", "index_of": linked}
            files.append(file)
        files.append(files[0] | {"accession": "ENCFFOLD", "status": "archived"})
        record = {
            "accession": accession, "status": "released", "files": files,
            "assay_term_name": ASSAY[library],
            "replicates": [{"library": {"biosample": {"organism": {
                "scientific_name": "Homo sapiens"}}}}],
        }  # fmt: skip
        self.put(self.hosts.encode_object("experiments", accession), record)

    def geo(self, number: int, library: str, species: str = "Homo sapiens") -> str:
        """Put a sample into GEO, without runs, and return its accession."""
        gsm = f"GSM{number}"
        words = {"gsm": gsm, "number": number, "species": species, "strategy": STRATEGY[library]}
        self.put(self.hosts.geo_sample(gsm), SOFT.format(**words).encode())
        return gsm

    def series(self, accession: str, numbers: Mapping[int, str]) -> None:
        """Put a series of samples (number and library) into GEO."""
        records = [
            SOFT.format(gsm=f"GSM{n}", number=n, species="Homo sapiens", strategy=STRATEGY[library])
            for n, library in numbers.items()
        ]
        self.put(self.hosts.geo_samples(accession), "".join(records).encode())

    def ena(
        self, number: int, library: str, files: Mapping[str, bytes], kind: str = "fastq"
    ) -> str:
        """Put a run with files (`fastq` of ENA or `submitted`) into ENA; return its accession."""
        run = f"SRR{number}"
        host = self.server.url.removeprefix("http://")
        for name, content in files.items():
            self.put(f"{self.server.url}/vol1/{run}/{name}", content)
        record = {
            "run_accession": run, "experiment_accession": f"SRX{number}",
            "library_strategy": STRATEGY[library], "scientific_name": "Homo sapiens",
            f"{kind}_ftp": ";".join(f"{host}/vol1/{run}/{name}" for name in files),
            f"{kind}_bytes": ";".join(str(len(c)) for c in files.values()),
            f"{kind}_md5": ";".join(hashlib.md5(c).hexdigest() for c in files.values()),
        }  # fmt: skip
        for accession in (run, f"SRX{number}"):
            self.put(self.hosts.ena_runs(accession), [record])
        return run

    def archived(self, number: int, content: bytes) -> None:
        """Let NCBI's data locator give an archived run."""
        run = f"SRR{number}"
        link = f"{self.server.url}/sra-pub-run-odp/sra/{run}/{run}"
        self.put(link, content)
        place = {"service": "s3", "link": link, "payRequired": False, "rehydrationRequired": False}
        file = {
            "type": "sra", "name": run, "size": len(content),
            "md5": hashlib.md5(content).hexdigest(), "locations": [place],
        }  # fmt: skip
        answer = {"version": "2", "result": [{"bundle": run, "status": 200, "files": [file]}]}
        self.put(self.hosts.located(run), answer)
