"""List the files of a sample's accessions."""

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.resolve import Accessions, resolve
from epifoundation.config import load_config
from epifoundation.contracts import MANIFEST
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        # what cannot change the result stays out of params, where a change reruns the rule
        settings = load_config(snakemake.config).acquire
        manifest = resolve(Accessions(**snakemake.params.accessions), settings)
        MANIFEST.write(manifest, snakemake.output.manifest)
