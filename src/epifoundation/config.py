"""The one typed configuration: meaning, types and ranges here, values in config.yaml."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from epifoundation.errors import ConfigError


class Section(BaseModel):
    """Part of the configuration; unknown keys are errors and values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SimulateConfig(Section):
    """The simulated multiome; its difficulty is fixed in `epifoundation.simulate`."""

    seed: int = Field(ge=0, description="Seed of everything simulated.")
    size: Literal["demo", "demo_two_batches", "small"] = Field(
        description="`demo`; with a second batch of each atlas tissue; `small` for tests."
    )


class AcquireConfig(Section):
    """Where accessions are looked up and how files are fetched."""

    catalogue: str | None = Field(
        description="URL or folder of a file server with an `index.tsv`; for source `catalogue`."
    )
    parallel_downloads: int = Field(ge=1, le=16, description="Files fetched at once per sample.")
    retries: int = Field(ge=0, description="Further attempts after a broken transfer.")
    keep_fastq: bool = Field(description="Keep FASTQ files after alignment.")


class ReferenceConfig(Section):
    """The genome; each of the files is a URL or a path, gzipped or not."""

    fasta: str | None = Field(
        description="Genome sequence, or the 10x reference, as tarball or unpacked folder; null"
        " where nothing is aligned."
    )
    annotation: str | None = Field(
        description="GTF; null when `fasta` is a 10x tarball, or for no TSS enrichment."
    )
    md5: str | None = Field(description="MD5 of `fasta`, checked when given; not of a folder.")
    blacklist: str = Field(description="BED of regions in which no peak is kept.")
    standard_chromosomes: list[str] = Field(
        min_length=1, description="Chromosomes on which peaks are kept, in this order."
    )
    mitochondrial: str = Field(description="Name of the mitochondrial chromosome.")
    star_index_bases: int = Field(ge=4, le=18, description="STAR's --genomeSAindexNbases.")


class AlignConfig(Section):
    """How reads become fragments and counts."""

    engine: Literal["cellranger-arc", "open"] = Field(description="Which aligner makes outs/.")
    cellranger_arc: str = Field(description="The cellranger-arc program, by name or path.")
    whitelist_gex: str | None = Field(description="GEX barcodes; null: 10x ARC list of ngs-tools.")
    whitelist_atac: str | None = Field(description="ATAC barcodes, paired by line with GEX.")
    min_mapping_quality: int = Field(ge=0, le=60, description="Lowest MAPQ of a fragment.")
    bwa_options: list[str] = Field(description="Further options of bwa mem, word by word.")


class PeakConfig(Section):
    """Peak calling with MACS2 or MACS3, as Signac's CallPeaks."""

    caller: Literal["macs2", "macs3"] = Field(description="Which program; both call alike.")
    pool: Literal["atlas", "all"] = Field(description="Whose fragments are pooled.")
    calls: Literal["pooled", "sample", "cluster"] = Field(
        description="One call on all fragments; or one a sample, or RNA cluster of one, merged."
    )
    frozen: str | None = Field(description="BED of a given peak set; null: call peaks.")
    genome_size: float = Field(gt=1, description="MACS2 -g, in base pairs.")
    q_value: float = Field(gt=0, lt=1, description="MACS2 -q.")
    extension_bp: int = Field(gt=0, description="MACS2 --extsize; --shift is minus half of it.")
    keep_duplicates: PositiveInt | Literal["auto", "all"] = Field(
        description="MACS2 --keep-dup: tags kept at one position; a number, `auto` or `all`."
    )


class QcConfig(Section):
    """The six criteria a barcode must meet to be a cell; limits themselves fail."""

    min_rna_umis: float = Field(ge=0, description="More RNA UMIs than this.")
    max_rna_umis: float = Field(gt=0, description="Fewer RNA UMIs than this.")
    min_atac_reads: float = Field(ge=0, description="More ATAC reads than this.")
    max_atac_reads: float = Field(gt=0, description="Fewer ATAC reads than this.")
    atac_reads: Literal["in_peaks", "fragments"] = Field(
        description="ATAC reads: column sum of the peak matrix, or all fragments."
    )
    max_nucleosome_signal: float = Field(gt=0, description="Nucleosome signal below this.")
    nucleosome_lines: Literal["all", "signac"] = Field(
        description="Whole file, or Signac's first 5,000 lines per barcode."
    )
    tss_enrichment: Literal["fast", "slow"] = Field(
        description="Which of Signac's two scores: `fast = TRUE`, its default, or FALSE."
    )
    min_tss_enrichment: float | None = Field(
        ge=0, description="TSS enrichment above this; null: not applied."
    )

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name in ("rna_umis", "atac_reads"):
            if getattr(self, f"min_{name}") >= getattr(self, f"max_{name}"):
                message = f"min_{name} must be below max_{name}"
                raise ValueError(message)
        return self


class ClusterConfig(Section):
    """Latent spaces, weighted nearest neighbours, Louvain."""

    n_variable_genes: int | None = Field(
        ge=2, description="Most variable genes kept; null: all genes."
    )
    n_pcs: int = Field(ge=2, description="RNA principal components.")
    n_lsi: int = Field(ge=2, description="ATAC LSI components; the first is dropped as depth.")
    peak_percentile: float = Field(
        ge=0, lt=1, description="Peaks above this percentile of total counts give the LSI (Signac)."
    )
    n_neighbors: int = Field(ge=2, description="Neighbours of a cell (Seurat k.nn).")
    neighbor_range: int = Field(ge=2, description="Candidates per modality (Seurat knn.range).")
    small_samples: bool = Field(
        description="Lower neighbor_range to cells - 1 where there are fewer (not Seurat)."
    )
    resolution: float = Field(gt=0, description="Louvain resolution.")
    seed: int = Field(ge=0, description="Seed of the approximate steps.")

    @model_validator(mode="after")
    def _candidates(self) -> Self:
        # A cell is among its own candidates, so that one fewer can become its neighbours.
        if self.n_neighbors >= self.neighbor_range:
            message = (
                f"n_neighbors {self.n_neighbors} must be below neighbor_range"
                f" {self.neighbor_range}, which counts the cell itself"
            )
            raise ValueError(message)
        return self


class LabelConfig(Section):
    """Where cell types come from."""

    source: Literal["disco_wnn", "disco_rna", "given", "none"] = Field(
        description="DISCO profiles on clusters of both modalities, or of RNA alone; "
        "`obs['cell_type']` of the files; or no labels."
    )
    method: Literal["spearman", "cellid"] = Field(
        description="One rank correlation; or the two rounds of DISCO's web CELLiD."
    )
    profiles: str | None = Field(description="URL or path of the profiles TSV/CSV (DISCO getRef).")
    n_genes: int = Field(ge=10, description="Most variable genes of the tissue's profiles used.")
    min_shared_genes: int = Field(ge=1, description="Fewest genes shared with the profiles.")
    min_margin: float = Field(
        ge=0, description="A cluster whose best two scores lie closer stays `unassigned`."
    )
    merge_synonyms: bool = Field(
        description="Give types that are the same by the Cell Ontology its one name."
    )

    @model_validator(mode="after")
    def _profiles(self) -> Self:
        if self.source.startswith("disco") and not self.profiles:
            message = f"source {self.source} needs profiles: DISCO's URL, or a file of your own"
            raise ValueError(message)
        return self


class AtlasConfig(Section):
    """Splits of cells; random over cells within a data set, by (seed, data set)."""

    validation_fraction: float = Field(gt=0, lt=1, description="Share of cells for validation.")
    test_fraction: float = Field(gt=0, lt=1, description="Share of cells held out for testing.")

    @model_validator(mode="after")
    def _rest(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            message = "validation_fraction and test_fraction leave no cell to train on"
            raise ValueError(message)
        return self


class CellxgeneConfig(Section):
    """What the CELLxGENE files say beyond the sample sheet."""

    sample_terms: str | None = Field(
        description="TSV: sample, and columns of the schema (disease_ontology_term_id …)."
    )
    genes: str | None = Field(
        description="CSV whose first column lists the Ensembl ids CELLxGENE takes; null: all."
    )

    @field_validator("sample_terms", "genes")
    @classmethod
    def _local(cls, location: str | None) -> str | None:
        if location is not None and "://" in location:
            message = "is not fetched from a URL: download it, and give its path"
            raise ValueError(message)
        return location


class ModelConfig(Section):
    """The network (paper section 3.3, Table 5)."""

    n_layers: int = Field(ge=1, description="Transformer blocks.")
    n_heads: int = Field(ge=1, description="Attention heads.")
    d_model: int = Field(ge=4, description="Embedding width d_m.")
    d_feedforward: int = Field(ge=4, description="Hidden width of a block.")
    dropout: float = Field(ge=0, lt=1, description="Dropout.")
    max_peaks: int = Field(ge=2, description="L_peak: peaks read of a cell, [CLS] not counted.")
    max_genes: int = Field(ge=2, description="L_gene: genes supervised of a cell.")
    embedding_std: float = Field(
        gt=0, description="Size of table entries at the start; smaller: tables learn faster."
    )
    initialisation: Literal["independent", "identical_blocks"] = Field(
        description="Blocks start apart, or as copies of one (authors)."
    )
    batch_norm: Literal["real", "padded"] = Field(
        description="Statistics of real tokens, or also of padding to max_peaks + 1 and max_genes."
    )
    pooling: Literal["cls", "mean"] = Field(
        description="A cell's embedding: its [CLS] token, or the mean of its tokens."
    )
    depth_input: Literal["none", "log_counts"] = Field(
        description="Whether the [CLS] token carries the logarithm of a cell's number of peaks."
    )

    @property
    def largest_rank(self) -> int:
        """Rank that every matrix of the blocks can have."""
        return min(self.d_model, self.d_feedforward)

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.d_model % self.n_heads:
            message = f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}"
            raise ValueError(message)
        return self


class TrainConfig(Section):
    """One training stage."""

    epochs: int = Field(ge=1, description="Passes over the training cells.")
    learning_rate: float = Field(gt=0, description="Peak learning rate.")
    min_learning_rate: float = Field(ge=0, description="Learning rate at the end of the cosine.")
    warmup_fraction: float = Field(ge=0, lt=1, description="Share of updates spent warming up.")
    cells_per_minibatch: int = Field(ge=1, description="Cells of a minibatch, on average.")
    accumulation_steps: int = Field(ge=1, description="Minibatches per update.")
    clip_norm: float = Field(gt=0, description="Largest norm of the gradient.")
    precision: Literal["bf16", "fp32"] = Field(
        description="Autocast precision on a GPU; a CPU computes in fp32."
    )
    patience: int = Field(ge=1, description="Epochs without a better validation before stopping.")
    schedule: Literal["cosine", "warm_restarts"] = Field(
        description="One cosine over all updates, or the authors' warm restarts, by epoch."
    )
    tokens_per_minibatch: int | None = Field(
        ge=2,
        description="Most tokens of a minibatch; null: cells_per_minibatch cells of mean length.",
    )
    max_peaks: int | None = Field(
        ge=2, description="Peaks read of a cell in this stage; null: as many as the model reads."
    )

    @model_validator(mode="after")
    def _cosine(self) -> Self:
        if self.min_learning_rate > self.learning_rate:
            message = "min_learning_rate is above learning_rate"
            raise ValueError(message)
        return self


class PretrainConfig(TrainConfig):
    """The stage of pretraining."""

    start_from: str | None = Field(
        description="Model directory whose weights pretraining goes on from; null: random ones."
    )


class FinetuneConfig(TrainConfig):
    """One stage of fine-tuning."""

    trainable: Literal["full", "frozen_tables", "lora"] = Field(
        description="All parameters; all but the tables; or heads and low-rank changes of blocks."
    )
    lora_rank: int = Field(ge=1, description="Rank of the changes that `lora` learns.")


class ExecutionConfig(Section):
    """How training uses the machine; no result depends on it beyond rounding and dropout draws.

    But for `changed_settings`, which may join two trainings in one model.
    """

    device: Literal["auto", "cuda", "cpu"] = Field(
        description="`cuda` refuses to start without a GPU; `auto` takes one where there is one."
    )
    n_devices: int = Field(
        ge=1, description="GPUs (CPU: processes) pretraining is split over; fine-tuning takes one."
    )
    shard_tables: bool = Field(
        description="Split the tables of peaks and genes over the devices; slower, less memory."
    )
    n_workers: int = Field(ge=0, description="Threads per device that read cells ahead; 0: none.")
    gradient_checkpointing: bool = Field(
        description="Compute blocks again in the backward pass: less memory, a third more work."
    )
    compile: bool = Field(description="Compile the blocks; minutes at the start.")
    checkpoint_minutes: float = Field(gt=0, description="Minutes between checkpoints.")
    checkpoint_updates: int | None = Field(
        ge=1, description="Updates between checkpoints as well; null: by time alone."
    )
    keep_checkpoints: int = Field(ge=1, description="Latest checkpoints kept.")
    changed_settings: Literal["anew", "go_on"] = Field(
        description="Where a stopped training was of another learning rate or the like: train"
        " anew, or go on from it (docs/decisions/0012 lists the settings)."
    )
    log_every_updates: int = Field(ge=1, description="Updates between lines of step metrics.")
    tensorboard: bool = Field(description="Write the step metrics for TensorBoard too.")


class BenchmarkConfig(Section):
    """What is compared, where, and how often."""

    seeds: list[NonNegativeInt] = Field(
        min_length=1, description="Splits and trainings, one of each a seed."
    )
    protocols: list[
        Literal[
            "paper",
            "sample_held_out",
            "donor_held_out",
            "label_free",
            "few_shot_10",
            "few_shot_50",
            "few_shot_100",
        ]
    ] = Field(min_length=1, description="How cells are split, and which labels are learned from.")
    pretraining_sees_test_cells: bool = Field(
        description="Pretrain on the atlas's test cells too, where no sample or donor is held out."
    )
    pretrained_embedding: bool = Field(
        description="Score the embedding before fine-tuning too; `label_free` has no other."
    )
    integration: list[Literal["pca", "harmony", "liger", "scanvi", "random", "lsi", "peakvi"]] = (
        Field(description="Embedding baselines of Table 1.")
    )
    annotation: list[
        Literal[
            "majority",
            "depth_only",
            "lsi_logistic",
            "lsi_neighbours",
            "binary_logistic",
            "binary_naive_bayes",
            "scanvi",
        ]
    ] = Field(description="Annotation controls beside Table 2.")
    expression: list[
        Literal[
            "gene_activity",
            "gene_activity_log",
            "gene_activity_affine",
            "gene_mean",
            "depth_only",
            "lsi_ridge",
            "lsi_neighbours",
            "binary_ridge",
            "multivi",
        ]
    ] = Field(description="Expression baselines of Table 3.")
    integration_datasets: list[str] = Field(description="Data sets of Table 1.")
    ablation_datasets: list[str] = Field(description="Data sets of Table 4.")
    ablations: list[Literal["no_batch", "no_chromosome", "no_pretrain", "no_tissue"]] = Field(
        description="Models beside the full one: the paper's two, without pretraining, and"
        " pretrained for as many tokens on other tissues than the data set's."
    )
    heatmap_figures: dict[str, list[str]] = Field(description="Figure: data sets of its heat-maps.")
    umap_figures: dict[str, list[str]] = Field(description="Figure: data sets of its UMAPs.")
    shown_genes: list[str] = Field(
        description="Genes of the figure of expression; none: those that vary most."
    )
    n_bins: int = Field(ge=3, le=256, description="Expression levels, zero included.")
    crops: int = Field(
        ge=1, description="Draws averaged of a cell with more peaks than the model reads."
    )
    liger_python: str = Field(description="Python of the environment that has pyliger.")
    printed_comparable: bool = Field(
        description="Data, split and labels are the paper's, so that a number can be reproduced."
    )


class Config(Section):
    """Everything config.yaml says."""

    results_dir: str = Field(
        min_length=1, pattern=r"^[^{}]*$", description="Folder of all results of this run."
    )
    samples: Path = Field(description="Sample sheet, one library per row.")
    simulate: SimulateConfig | None = Field(description="Simulate the inputs first; null: no.")
    acquire: AcquireConfig
    reference: ReferenceConfig
    align: AlignConfig
    peaks: PeakConfig
    qc: QcConfig | None = Field(description="null keeps every barcode of the matrices.")
    cluster: ClusterConfig
    labels: LabelConfig
    atlas: AtlasConfig
    cellxgene: CellxgeneConfig
    model: ModelConfig
    pretrain: PretrainConfig
    finetune_cell_type: FinetuneConfig
    finetune_expression: FinetuneConfig
    training: ExecutionConfig
    benchmark: BenchmarkConfig

    @model_validator(mode="after")
    def _ranks(self) -> Self:
        for stage in ("finetune_cell_type", "finetune_expression"):
            config: FinetuneConfig = getattr(self, stage)
            if config.trainable == "lora" and config.lora_rank > self.model.largest_rank:
                message = (
                    f"{stage}.lora_rank is {config.lora_rank}, but matrices of the blocks have a"
                    f" rank of {self.model.largest_rank} at most (model.d_model, d_feedforward)"
                )
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        tested = self.benchmark
        others = [name for name in tested.ablations if name != "no_pretrain"]
        if self.pretrain.start_from and tested.ablation_datasets and others:
            message = (
                "pretrain.start_from gives weights for the full model, and none for others of"
                f" benchmark.ablations ({', '.join(others)}). Take those out, or set"
                " pretrain.start_from: null"
            )
            raise ValueError(message)
        return self


def load_config(raw: Mapping[str, Any]) -> Config:
    """Validate the raw configuration, reporting every mistake at once."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        mistakes = [_mistake(each) for each in error.errors()]
        if sum(each["type"] == "missing" for each in error.errors()) > 1:
            mistakes.append("Is this config.yaml of another version of the workflow?")
        raise ConfigError("\n".join(["The configuration is not valid:", *mistakes])) from None


def _mistake(found: ErrorDetails) -> str:
    """Return a line: the key, what is wrong with it, and its value unless that is a section."""
    key = ".".join(map(str, found["loc"]))
    line = f"  {key}: {found['msg']}" if key else f"  {found['msg']}"
    if found["type"] == "extra_forbidden":
        return f"  {key}: no such key{did_you_mean(Config, found['loc'])}"
    return line if isinstance(found["input"], dict) else f"{line} (got {found['input']!r})"


def did_you_mean(of: type[BaseModel], key: tuple[int | str, ...]) -> str:
    """Return a hint at the key of the same section, or the section, with a name like it."""
    section: type[BaseModel] | None = of
    for name in key[:-1]:
        field = section.model_fields.get(str(name)) if section else None
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        section = next(
            (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None
        )
    close = get_close_matches(str(key[-1]), section.model_fields, n=1) if section else []
    return f". Did you mean {close[0]}?" if close else ""


def check_given_files(config: Config, root: Path) -> None:
    """Raise ConfigError for files and folders that the configuration names and that are not there.

    Looked for here and in `root` (the checkout); not URLs, nor files among the results, which a
    rule makes.
    """
    named = {"peaks.frozen": config.peaks.frozen}
    if config.labels.source.startswith("disco"):
        named["labels.profiles"] = config.labels.profiles
    missing = [
        f"  {key}: {location} does not exist as a file (looked here and in {root})"
        for key, location in named.items()
        if location
        and "://" not in location
        and not Path(location).is_relative_to(config.results_dir)
        and not (Path(location).is_file() or (root / location).is_file())
    ]
    start = config.pretrain.start_from
    if (
        start
        and not Path(start).is_relative_to(config.results_dir)
        and not any((place / start / "config.json").is_file() for place in (Path(), root))
    ):
        missing.append(
            f"  pretrain.start_from: {start} is no model directory (looked here and in {root});"
            " import-weights and pretrain write one"
        )
    if missing:
        raise ConfigError("\n".join(["The configuration names files that are missing:", *missing]))
