"""What the files between two steps hold; checked by the step that writes and the one that reads."""

import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from epifoundation.errors import ContractError
from epifoundation.files import whole

SCHEMA_VERSION = 1
SATURATED = 0.8  # of the bases of peaks: above it one tag a base hides how accessible they are
NO_TYPE = ("", "unassigned")  # such cells have no true type: neither learned from nor scored


@dataclass(frozen=True)
class Table:
    """A TSV or Parquet file (by suffix): its columns with their dtypes, and what identifies a row.

    `dtypes` maps a column to `str`, `int64`, `float64` or `bool`. Columns in `nullable` may be
    empty. `key` columns together are unique. `ranges` gives inclusive limits of numbers.
    """

    made_by: str
    key: tuple[str, ...]
    dtypes: dict[str, str]
    nullable: tuple[str, ...] = ()
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    allowed: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self, path: Path | str) -> pd.DataFrame:
        """Return the table at `path`, or say what is wrong with it."""
        try:
            table = self._read(path)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            binary = Path(path).suffix == ".parquet"  # the token store says what is wrong with it
            if binary or (isinstance(error, OSError) and error.errno):  # missing, or no rights
                raise
            reason = str(error).strip().partition("\n")[0]
            message = (
                f"{path} cannot be read as a table ({reason}). {self.made_by} makes it: make it"
                " again, or check the path."
            )
            raise ContractError(message) from error
        self.check(table, path)
        return table

    def _read(self, path: Path | str) -> pd.DataFrame:
        if Path(path).suffix == ".parquet":
            return pd.read_parquet(path)
        text = [name for name, dtype in self.dtypes.items() if dtype == "str"]
        return pd.read_csv(
            path,
            sep="\t",
            dtype=dict.fromkeys(text, str),
            keep_default_na=False,
            na_values={name: [""] for name in self.dtypes if name not in text},
        )

    def write(self, table: pd.DataFrame, path: Path | str) -> None:
        """Write the table whole, unless it breaks this contract."""
        self.check(table, path)
        with whole(path) as partial:
            if Path(path).suffix == ".parquet":
                table.to_parquet(partial, index=False)
            else:
                table.to_csv(partial, sep="\t", index=False)

    def check(self, table: pd.DataFrame, path: Path | str) -> None:
        """Raise ContractError with every breach, each counted and with an example."""
        problems = []
        for column, dtype in self.dtypes.items():
            if column not in table:
                problems.append(
                    f"column {column!r} is missing (found {', '.join(map(str, table))})"
                )
                continue
            values = table[column]
            if not _has_dtype(values, dtype):
                problems.append(f"column {column!r} is {values.dtype}, expected {dtype}")
                continue
            empty = values.isna() | (values == "") if dtype == "str" else values.isna()
            if column not in self.nullable and empty.any():
                problems.append(
                    f"column {column!r} is empty in {empty.sum()} of {len(table)} rows"
                    f" (first: row {int(np.flatnonzero(empty)[0]) + 1})"
                )
            if column in self.ranges:
                low, high = self.ranges[column]
                outside = ~empty & ~values.between(low, high)
                if outside.any():
                    problems.append(
                        f"column {column!r} is outside {low}..{high} in {outside.sum()} of"
                        f" {len(table)} rows (first: {values[outside].iloc[0]})"
                    )
            if column in self.allowed:
                strange = ~empty & ~values.isin(self.allowed[column])
                if strange.any():
                    problems.append(
                        f"column {column!r} has {values[strange].iloc[0]!r};"
                        f" allowed: {', '.join(self.allowed[column])}"
                    )
        if self.key and set(self.key) <= set(table.columns):
            repeated = table.duplicated(list(self.key))
            if repeated.any():
                example = " ".join(map(str, table.loc[repeated, list(self.key)].iloc[0]))
                what = "+".join(self.key)
                problems.append(
                    f"{repeated.sum()} of {len(table)} {what} repeat (first: {example})"
                )
        if problems:
            details = "\n".join(f"  - {problem}" for problem in problems)
            message = f"{path} breaks its contract:\n{details}\nIt is made by {self.made_by}."
            raise ContractError(message)


def _has_dtype(values: pd.Series, dtype: str) -> bool:
    if dtype == "str":
        return bool(pd.api.types.is_string_dtype(values) or values.isna().all())
    if dtype == "float64":
        return bool(pd.api.types.is_float_dtype(values) or pd.api.types.is_integer_dtype(values))
    if dtype == "int64":
        return bool(pd.api.types.is_integer_dtype(values))
    return str(values.dtype) == dtype


MANIFEST = Table(
    made_by="rule resolve",
    key=("file",),
    dtypes={
        "file": "str",  # name on disk, `<library>_<lane>_<read>.fastq.gz`
        "url": "str",  # `prefetch:<run>` where only that program gets it
        "bytes": "int64",
        "md5": "str",  # `sha256:` before it says that it is one; empty: the source tells none
        "library": "str",
        "lane": "str",  # the run, where FASTQ is still to be made of the file
        "read": "str",  # R1 R2 R3 as Cell Ranger ARC names them: ATAC R2 is the barcode read
        "route": "str",  # fastq; of bam and sra FASTQ is made, which has the reads
    },
    nullable=("md5", "read"),
    ranges={"bytes": (1, 2**50)},
    allowed={
        "library": ("gex", "atac"),
        "read": ("R1", "R2", "R3", "I1"),
        "route": ("fastq", "bam", "sra"),
    },
)
READS = Table(
    made_by="rule download",
    key=("file",),
    dtypes={
        "file": "str",  # name on disk, `<library>_<lane>_<read>.fastq.gz`
        "bytes": "int64",
        "library": "str",
        "lane": "str",
        "read": "str",
        "origin": "str",  # run or experiment
    },
    ranges={"bytes": (1, 2**50)},
    allowed={"library": ("gex", "atac"), "read": ("R1", "R2", "R3", "I1")},
)
BARCODE_METRICS = Table(
    made_by="rule count",
    key=("barcode",),
    dtypes={
        "barcode": "str",
        "n_rna_umis": "int64",
        "n_genes": "int64",
        "n_fragments": "int64",
        "n_atac_in_peaks": "int64",
        "nucleosome_signal": "float64",  # whole file; NaN: no fragment below 294 bp
        "nucleosome_signal_first_lines": "float64",  # over Signac's first 5,000 lines a barcode
        "tss_enrichment": "float64",  # Signac's fast score; NaN: no annotation
        "tss_enrichment_slow": "float64",
        "frac_in_peaks": "float64",
        "frac_in_blacklist": "float64",
        "frac_fragments_mitochondrial": "float64",  # of fragments
        "frac_mitochondrial": "float64",  # of UMIs
    },
    nullable=(
        "nucleosome_signal",
        "nucleosome_signal_first_lines",
        "tss_enrichment",
        "tss_enrichment_slow",
        "frac_in_peaks",
        "frac_in_blacklist",
        "frac_fragments_mitochondrial",
        "frac_mitochondrial",
    ),
)
QC_FUNNEL = Table(
    made_by="rule filter_cells",
    key=("criterion",),
    dtypes={
        "criterion": "str",
        "n_barcodes": "int64",  # that pass this criterion by itself
        "n_removed": "int64",
        "note": "str",  # why it does not apply, or to what else
    },
    nullable=("note",),
)
QC_ALTERNATIVES = Table(
    made_by="rule filter_cells",
    key=("setting",),
    dtypes={
        "setting": "str",  # of qc, with two definitions: that used and the alternative
        "used": "str",
        "alternative": "str",
        "n_cells_used": "float64",  # whole numbers: barcodes that meet all six criteria
        "n_cells_alternative": "float64",
        "n_cells_used_only": "float64",
        "n_cells_alternative_only": "float64",
        "n_barcodes_used_only": "float64",  # that meet the setting's own criteria
        "n_barcodes_alternative_only": "float64",
        "note": "str",  # why there is nothing to compare
    },
    nullable=(
        "used",
        "alternative",
        "n_cells_used",
        "n_cells_alternative",
        "n_cells_used_only",
        "n_cells_alternative_only",
        "n_barcodes_used_only",
        "n_barcodes_alternative_only",
        "note",
    ),
)
PEAK_SUMMARY = Table(
    made_by="rule call_peaks, take_peaks or share_peaks",
    key=("call",),
    dtypes={
        "call": "str",  # pooled, a sample, a cluster; `merged` of those; `given`: none was made
        "n_fragments": "int64",  # of all barcodes and files; 0 where none was read
        "tag_size_bp": "int64",  # mean length of the first ten fragments, largest gap in a peak
        "n_called": "int64",
        "n_nonstandard_removed": "int64",
        "n_blacklist_removed": "int64",
        "n_kept": "int64",
        "total_bp": "int64",
        "occupancy_in_peaks": "float64",  # share of bases at which a fragment starts
        "occupancy_outside": "float64",  # the same up to the ends of the standard chromosomes
    },
    nullable=("occupancy_in_peaks", "occupancy_outside"),
)
CLUSTERS = Table(
    made_by="rule cluster_rna",
    key=("barcode",),
    dtypes={"barcode": "str", "cluster": "str"},  # `<sample>#<barcode>`; "0" is the largest
)
LABELS = Table(
    made_by="rule label",
    key=("barcode",),
    dtypes={
        "barcode": "str",  # `<sample>#<barcode>` inside the workflow
        "cluster": "str",
        "cell_type": "str",  # `unassigned` where no type is clearly the best
        "score": "float64",
        "margin": "float64",
        "runner_up": "str",
        "cell_ontology_id": "str",  # of the type, or of the closest wider term; empty: unknown
    },
    nullable=("runner_up", "score", "margin", "cell_ontology_id"),
)
AGREEMENT = Table(
    made_by="rule compare_labels",
    key=("dataset", "one", "other"),
    dtypes={
        "dataset": "str",
        "one": "str",  # label source: disco_wnn disco_rna given
        "other": "str",
        "n_cells": "int64",  # with a type in both
        "n_types_one": "int64",
        "n_types_other": "int64",
        "ari": "float64",
        "nmi": "float64",
        "agreement": "float64",  # share of cells whose types are the same, synonyms merged
    },
    nullable=("ari", "nmi", "agreement"),
    ranges={"ari": (-1, 1), "nmi": (0, 1), "agreement": (0, 1)},
)
CONFUSION = Table(
    made_by="rule compare_labels",
    key=("dataset", "one", "other", "type_one", "type_other"),
    dtypes={
        "dataset": "str",
        "one": "str",
        "other": "str",
        "type_one": "str",
        "type_other": "str",
        "n_cells": "int64",
        "share": "float64",  # of the cells of type_one
    },
    ranges={"share": (0, 1)},
)
SPLIT = Table(
    made_by="rule split",
    key=("cell",),
    dtypes={"cell": "str", "split": "str"},
    # `unused`: neither read nor scored; the cells beyond the N of a type in few_shot_N
    allowed={"split": ("train", "validation", "test", "unused")},
)
LEARNED_FROM = Table(
    made_by="rule pretrain",
    key=("cell",),
    dtypes={"cell": "str", "sample": "str", "donor": "str"},  # trained on, or validated with
    nullable=("donor",),
)
CELL_TYPE_PREDICTIONS = Table(
    made_by="rule predict or a baseline",
    key=("cell",),
    dtypes={"cell": "str", "predicted_cell_type": "str"},  # and `score:<type>` columns, softmax
)
METRICS = Table(
    # Methods: those of evaluation/baselines/__init__.py; `epifoundation`; in task integration
    # `epifoundation_pretrained`, the model before fine-tuning; in task ablation `epifoundation`,
    # `epifoundation_no_batch`, `epifoundation_no_chromosome` (integration metrics),
    # `epifoundation_no_pretrain`, `epifoundation_no_tissue` (metrics of every task), and, of the
    # embeddings before fine-tuning, `epifoundation_pretrained`, `epifoundation_pretrained_no_batch`
    # (metric tissue_accuracy, of ALLTissue alone).
    # Metrics beside those of Tables 1 to 4: `f1:<type>` (n_cells: the type's test cells);
    # `<metric>:depth_low`, `:depth_mid`, `:depth_high` of accuracy, macro_f1, mse, pearson (a third
    # of the test cells each, by open peaks); `depth_r2` (log depth from the embedding; larger is
    # worse); those of evaluation/integration_variants.py and evaluation/expression_variants.py.
    # A method or data set that a protocol cannot have keeps its rows, value empty; a `note` that
    # begins with `failed: ` says that the method broke down (rule complete).
    made_by="rule score",
    key=("atlas", "dataset", "protocol", "task", "method", "seed", "metric"),
    dtypes={
        "atlas": "str",
        "dataset": "str",
        "protocol": "str",
        "task": "str",  # integration annotation expression ablation
        "method": "str",
        "seed": "int64",
        "metric": "str",
        "value": "float64",  # empty with a `note` that says why
        "low": "float64",  # 95 % interval by bootstrap over test cells; empty: no meaning
        "high": "float64",
        "n_cells": "int64",  # test cells
        "n_donors": "int64",  # known donors of the test cells; 0: none is known
        "n_types": "int64",  # among the test cells
        "fit_on": "str",  # fit | none | all cells, labelled, partly labelled or unlabelled
        "labels_seen": "str",  # none | train | test
        "label_source": "str",
        "note": "str",
        "input_hash": "str",  # of split and vocabulary; empty where there is no split
    },
    nullable=("value", "low", "high", "note", "input_hash"),
)
RESAMPLED = Table(
    made_by="rule score_annotation or score_expression",
    key=("method", "metric", "drawn", "resample"),
    dtypes={
        "method": "str",
        "metric": "str",
        "drawn": "str",  # what was drawn with replacement: test cells, or donors with their cells
        "resample": "int64",  # the same draw for every method of a data set, protocol and seed
        "value": "float64",
    },
    nullable=("value",),
    allowed={"drawn": ("cells", "donors")},
)
COMPARISONS = Table(
    made_by="rule compare_methods",
    key=("atlas", "dataset", "protocol", "task", "method", "metric", "drawn", "seed"),
    dtypes={
        "atlas": "str",
        "dataset": "str",
        "protocol": "str",
        "task": "str",  # as in METRICS; embeddings are compared over seeds alone
        "method": "str",  # the other one
        "metric": "str",
        "drawn": "str",  # over what: test cells, donors of test cells, or seeds (Nadeau-Bengio)
        "seed": "str",  # of the split; `all` where seeds are what is drawn
        "epifoundation": "float64",  # in `label_free` the pretrained model's
        "other": "float64",
        "difference": "float64",  # EpiFoundation minus the other
        "low": "float64",  # 95 % interval of the difference
        "high": "float64",
        "better": "str",  # whose score is, where the interval leaves out 0
        "n_drawn": "int64",  # cells, donors or seeds
        "note": "str",  # why there is no interval; what so few cells can carry
    },
    nullable=("low", "high", "note"),
    allowed={
        "drawn": ("cells", "donors", "seeds"),
        "better": ("EpiFoundation", "other", "undecided"),
    },
)
