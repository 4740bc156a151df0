"""EpiFoundation beside the controls on the fixed splits of two real sets of bone marrow.

    python -m benchmarks.peer results-bmmc ../shared/peer_bench benchmarks/peer.json [--minutes 4]

Takes the token stores of a finished run of config/bmmc_real.yaml (500 cells × 600 genes × 600 peaks
each), and of the second folder the splits and what others reached on them. Five seeds a set: each
pretrains on the training cells alone and is fine-tuned for cell types and for expression, 128 wide
and 3 layers deep as theirs, otherwise as the overlay says; our controls see the same cells. Scores
are added to the file after each seed; with --minutes no training is begun that would not end in
time, and the same command goes on where it stopped: controls that a seed lacks are added without
training it again. One CPU thread. What so few cells can tell: a difference
of .05 on one set is within the error of its test cells.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from benchmarks.pretraining import configuration
from epifoundation.config import Config
from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.evaluation.annotation import annotation_metrics, prediction_table
from epifoundation.evaluation.baselines import ANNOTATION, EXPRESSION
from epifoundation.evaluation.expression import expression_metrics
from epifoundation.evaluation.inputs import annotation_cells, expression_cells
from epifoundation.files import whole
from epifoundation.inference.predict import predict_cell_types, predict_expression
from epifoundation.training.dataset import rows_of
from epifoundation.training.finetune import finetune_cell_type, finetune_expression
from epifoundation.training.pretrain import pretrain

SEEDS = range(5)
SETS = {"BMMC_B": "bmmc_B", "BMMC_D": "bmmc_D"}  # there: the atlas of the run
PARTS = {"fit": "train", "val": "validation", "test": "test"}
SIZE = {"n_layers": 3, "n_heads": 4, "d_model": 128, "d_feedforward": 256}
OURS = "epifoundation"
CONTROLS = {
    "annotation": [
        "majority",
        "depth_only",
        "lsi_logistic",
        "binary_logistic",
        "binary_naive_bayes",
    ],
    "expression": ["gene_mean", "depth_only", "lsi_ridge", "binary_ridge"],
}
METRICS = {
    "annotation": ("accuracy", "macro_f1", "roc_auc"),
    "expression": ("mse", "pearson", "spearman"),
}
THEIRS = {"f1_macro": "macro_f1", "auc_ovr_macro": "roc_auc"}
THEIR_MODEL = "EpiFoundation(authors) 128/3/4"
Record = dict[str, dict[str, dict[str, float]]]  # task, method, metric


def split_of_peers(folder: Path, name: str, seed: int, store: TokenStore) -> pd.DataFrame:
    """Return contracts.SPLIT; cells of labels too rare to be split are left unused."""
    barcode = store.cells["cell"].str.partition("#")[2]
    split = pd.DataFrame({"cell": store.cells["cell"], "split": "unused"})
    for part, ours in PARTS.items():
        named = (folder / "splits" / name / f"seed{seed}.{part}.txt").read_text().split()
        split.loc[barcode.isin(named), "split"] = ours
    return split


def lacking(record: Record) -> dict[str, list[str]]:
    """Return by task the methods that a seed's record has not yet."""
    return {
        task: [m for m in (OURS, *controls) if m not in record.get(task, {})]
        for task, controls in CONTROLS.items()
    }


def scored(
    cfg: Config,
    store: TokenStore,
    vocabulary: Vocabulary,
    split: pd.DataFrame,
    seed: int,
    methods: dict[str, list[str]],
) -> Record:
    """Train where the model is asked for, predict, and return the scores on the test cells."""
    test = rows_of(store, split[split["split"] != "unused"], "test")
    truth = store.cells.iloc[test].set_index("cell")["cell_type"]
    n_bins = cfg.benchmark.n_bins
    tables, levels = {}, {}
    if any(OURS in asked for asked in methods.values()):
        tables[OURS], levels[OURS] = trained(cfg, store, vocabulary, split, seed, test)
    cells = annotation_cells(store, split)
    for method in methods["annotation"]:
        if method != OURS:
            scores, names = ANNOTATION[method].run(cells, seed)
            tables[method] = prediction_table(truth.index, scores, names)
    known = expression_cells(store, split, n_bins, None)
    for method in methods["expression"]:
        if method != OURS:
            levels[method] = EXPRESSION[method].run(known, seed)
    target = known.levels[test]
    varying = np.ptp(target.toarray(), axis=0) > 0  # others average over these alone, MSE too
    found = {
        "annotation": {m: annotation_metrics(table, truth) for m, table in tables.items()},
        "expression": {
            m: expression_metrics(target[:, varying], values[:, varying])
            for m, values in levels.items()
        },
    }
    return {
        task: {
            method: {name: round(scores[name].value, 4) for name in METRICS[task]}
            for method, scores in by_method.items()
        }
        for task, by_method in found.items()
    }


def trained(
    cfg: Config,
    store: TokenStore,
    vocabulary: Vocabulary,
    split: pd.DataFrame,
    seed: int,
    test: npt.NDArray[np.int64],
) -> tuple[pd.DataFrame, npt.NDArray[np.float32]]:
    """Return the model's cell types and levels of the test cells, trained on those to train on."""
    used = split[split["split"] != "unused"]
    start = pretrain(
        store, used, vocabulary, cfg.model, cfg.pretrain, cfg.training, variant="full", seed=seed
    )
    by_type = finetune_cell_type(
        start, store, used, cfg.finetune_cell_type, cfg.training, seed=seed
    )
    n_bins = cfg.benchmark.n_bins
    by_gene = finetune_expression(
        start, store, used, cfg.finetune_expression, cfg.training, n_bins=n_bins, seed=seed
    )
    return predict_cell_types(by_type, store, test), predict_expression(by_gene, store, test)


def joined(record: Record, more: Record) -> Record:
    """Return a seed's record with what was scored later, methods in the order of the tables."""
    return {
        task: {
            method: scores[method]
            for scores in [{**record.get(task, {}), **more.get(task, {})}]
            for method in (OURS, *controls)
            if method in scores
        }
        for task, controls in CONTROLS.items()
    }


def means(records: dict[str, Record]) -> Record:
    """Return each score's mean over the seeds that are done, of the methods that all of them have.

    A method that was added later is in none until each seed has it.
    """
    return {
        task: {
            method: {
                name: round(float(np.mean([r[task][method][name] for r in records.values()])), 4)
                for name in METRICS[task]
            }
            for method in (OURS, *controls)
            if all(method in r.get(task, {}) for r in records.values())
        }
        for task, controls in CONTROLS.items()
    }


def theirs(folder: Path, name: str, seeds: list[int]) -> dict[str, float]:
    """Return what others reached with the authors' model on the same splits, over those seeds."""
    table = pd.read_csv(folder / "results.tsv", sep="\t")
    own = table[(table["dataset"] == name) & (table["method"] == THEIR_MODEL)]
    own = own[own["seed"].isin(seeds)].replace({"metric": THEIRS})
    wanted = own[own["metric"].isin([m for names in METRICS.values() for m in names])]
    return {str(k): round(float(v), 4) for k, v in wanted.groupby("metric")["value"].mean().items()}


def main() -> None:
    """Train what is not trained yet, and write everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("peers", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    args = parser.parse_args()
    began, longest = time.monotonic(), 0.0
    torch.set_num_threads(1)
    cfg = configuration(Path("config/bmmc_real.yaml"))
    cfg = cfg.model_copy(update={"model": cfg.model.model_copy(update=SIZE)})
    report = json.loads(args.output.read_text()) if args.output.exists() else {}
    for seed in SEEDS:
        for name, atlas in SETS.items():
            folder = args.results / "atlas" / atlas
            store = TokenStore.open(folder / "store" / "ALLTissue")
            vocabulary = Vocabulary.read(folder / "vocabulary")
            told = report.setdefault(name, {"by_seed": {}})
            here = time.monotonic()
            known: Record = told["by_seed"].get(str(seed), {})
            methods = lacking(known)
            trains = any(OURS in asked for asked in methods.values())
            late = trains and longest > 60 * args.minutes - (here - began)
            if late or not any(methods.values()):
                continue
            split = split_of_peers(args.peers, name, seed, store)
            more = scored(cfg, store, vocabulary, split, seed, methods)
            told["by_seed"][str(seed)] = joined(known, more)
            told["mean"] = means(told["by_seed"])
            seeds = [int(done) for done in told["by_seed"]]
            told["others_with_the_authors_model"] = theirs(args.peers, name, seeds)
            with whole(args.output) as path:
                path.write_text(json.dumps(report, indent=1) + "\n")
            if trains:
                longest = max(longest, time.monotonic() - here)
            print(name, seed, round(longest), told["by_seed"][str(seed)], flush=True)


if __name__ == "__main__":
    main()
