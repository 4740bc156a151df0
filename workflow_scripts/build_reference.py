"""Write the reference from its sources."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.genome import ReferenceSources, build_reference, check_md5
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        annotation = snakemake.input.get("annotation")
        sources = ReferenceSources(
            fasta=Path(snakemake.input.fasta),
            annotation=Path(annotation) if annotation else None,
            blacklist=Path(snakemake.input.blacklist),
        )
        check_md5(sources.fasta, snakemake.params.md5)
        directory = Path(snakemake.output.fasta).parent
        build_reference(sources, directory, snakemake.params.chromosomes)
