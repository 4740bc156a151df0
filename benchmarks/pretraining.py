"""Does pretraining help fine-tuning? The same budget from a pretrained and from a fresh model.

    python -m benchmarks.pretraining results-demo config/demo.yaml Kidney cell_type \
        benchmarks/pretraining.json [--minutes 4]

Takes stores, splits and the pretrained model (`full`, seed 0) of a finished run; three seeds of
fine-tuning, scored on the test cells. Figures are added to the file of results after each training;
with --minutes none is begun that would not end in time, and the same command goes on where it
stopped. A run of several atlases is named with its atlas: `--atlas bmmc_B`. One CPU thread.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from snakemake.utils import update_config

from epifoundation.config import Config, load_config
from epifoundation.contracts import SPLIT
from epifoundation.data.store import TokenStore, expression_levels
from epifoundation.evaluation.annotation import annotation_metrics
from epifoundation.evaluation.expression import expression_metrics
from epifoundation.files import whole
from epifoundation.hub import FoundationModel, from_pretrained
from epifoundation.inference.predict import predict_cell_types, predict_expression
from epifoundation.training.dataset import Rows, rows_of
from epifoundation.training.finetune import finetune_cell_type, finetune_expression

SEEDS = (0, 1, 2)
VARIANTS = ("full", "no_pretrain")
Record = dict[str, float]


def configuration(overlay: Path) -> Config:
    """Return the shipped configuration with an overlay over it."""
    raw = yaml.safe_load(Path("config.yaml").read_text())
    update_config(raw, yaml.safe_load(overlay.read_text()))
    return load_config(raw)


def start_of(variant: str, pretrained: FoundationModel, seed: int) -> FoundationModel:
    """Return the model that fine-tuning starts from: the pretrained one, or one as initialised."""
    if variant == "full":
        return pretrained
    return FoundationModel.build(pretrained.design, pretrained.vocabulary, seed=seed)


def finetuned(
    start: FoundationModel, cfg: Config, store: TokenStore, split, task: str, seed: int
) -> Record:
    """Fine-tune a model and return its scores on the test cells, and how training went."""
    test: Rows = rows_of(store, split, "test")
    if task == "cell_type":
        model = finetune_cell_type(
            start, store, split, cfg.finetune_cell_type, cfg.training, seed=seed
        )
        truth = store.cells.iloc[test].set_index("cell")["cell_type"]
        scores = annotation_metrics(predict_cell_types(model, store, test), truth)
    else:
        n_bins = cfg.benchmark.n_bins
        model = finetune_expression(
            start, store, split, cfg.finetune_expression, cfg.training, n_bins=n_bins, seed=seed
        )
        target = expression_levels(store, n_bins)[test]
        scores = expression_metrics(target, predict_expression(model, store, test))
    best = min(model.history, key=lambda record: record["validation_loss"])
    told = {name: round(score.value, 4) for name, score in scores.items()}
    told |= {name: round(best[name], 4) for name in ("loss", "validation_loss", "epoch")}
    return told | {"last_loss": round(model.history[-1]["loss"], 4)}


def summary(records: dict[str, Record]) -> dict[str, object]:
    """Return mean, range and seeds of each figure, of both ways; then what pretraining changes.

    The change is between runs of the same seed of fine-tuning; only seeds done both ways count.
    """
    done = [s for s in SEEDS if all(f"{v}.{s}" in records for v in VARIANTS)]
    told: dict[str, object] = {}
    for name in records[f"{VARIANTS[0]}.{done[0]}"] if done else ():
        values = {v: [records[f"{v}.{s}"][name] for s in done] for v in VARIANTS}
        change = np.subtract(values["full"], values["no_pretrain"])
        told[name] = {
            **{v: {"mean": round(float(np.mean(x)), 4), "seeds": x} for v, x in values.items()},
            "change": {
                "mean": round(float(change.mean()), 4),
                "seeds": [round(float(c), 4) for c in change],
            },
        }
    return told


def main() -> None:
    """Fine-tune what is not fine-tuned yet, and write everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("overlay", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("task", choices=("cell_type", "expression"))
    parser.add_argument("output", type=Path)
    parser.add_argument("--atlas", help="needed where the run has several")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    args = parser.parse_args()
    began, longest = time.monotonic(), 0.0
    torch.set_num_threads(1)
    cfg = configuration(args.overlay)
    atlases = sorted(p.name for p in (args.results / "atlas").iterdir() if p.is_dir())
    if args.atlas not in atlases and len(atlases) > 1:
        parser.error(f"name one of the run's atlases with --atlas: {', '.join(atlases)}")
    name = args.atlas or atlases[0]
    atlas = args.results / "atlas" / name
    store = TokenStore.open(atlas / "store" / args.dataset)
    split = SPLIT.read(atlas / "splits" / f"{args.dataset}.paper.seed0.tsv")
    pretrained = from_pretrained(args.results / "models" / name / "pretrain" / "full.seed0")
    report = json.loads(args.output.read_text()) if args.output.exists() else {}
    report["machine"] = {"cpu": platform.processor() or platform.machine(), "threads": 1}
    report["machine"] |= {"cores": os.cpu_count(), "torch": torch.__version__}
    told = report.setdefault(f"{name} {args.dataset} {args.task}", {"records": {}})
    records = told["records"]
    for seed in SEEDS:
        for variant in VARIANTS:
            if f"{variant}.{seed}" in records:
                continue
            here = time.monotonic()
            if longest > 60 * args.minutes - (here - began):
                return
            start = start_of(variant, pretrained, seed)
            records[f"{variant}.{seed}"] = finetuned(start, cfg, store, split, args.task, seed)
            told["summary"] = summary(records)
            with whole(args.output) as path:
                path.write_text(json.dumps(report, indent=1) + "\n")
            longest = max(longest, time.monotonic() - here)
            print(f"{variant}.{seed}", records[f"{variant}.{seed}"], flush=True)


if __name__ == "__main__":
    main()
