"""Does pretraining help fine-tuning? The same budget from a pretrained and from a fresh model.

    python -m benchmarks.pretraining results-demo config/demo.yaml Kidney cell_type \
        benchmarks/pretraining.json

Takes stores, splits and the pretrained model of a finished run; three seeds of fine-tuning, scored
on the test cells. Adds its figures to the file of results. Training is on one CPU thread.
"""

import json
import sys
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
from epifoundation.hub import FoundationModel, from_pretrained
from epifoundation.inference.predict import predict_cell_types, predict_expression
from epifoundation.training.dataset import Rows, rows_of
from epifoundation.training.finetune import finetune_cell_type, finetune_expression
from epifoundation.training.pretrain import pretrain

SEEDS = (0, 1, 2)


def configuration(overlay: Path) -> Config:
    """Return the shipped configuration with an overlay over it."""
    raw = yaml.safe_load(Path("config.yaml").read_text())
    update_config(raw, yaml.safe_load(overlay.read_text()))
    return load_config(raw)


def finetuned(
    start: FoundationModel, cfg: Config, store: TokenStore, split, task: str, seed: int
) -> tuple[FoundationModel, dict[str, float]]:
    """Return the fine-tuned model and its scores on the test cells."""
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
    return model, {name: score.value for name, score in scores.items()}


def main(results: Path, overlay: Path, dataset: str, task: str, output: Path) -> None:
    """Fine-tune both ways, write means and ranges."""
    torch.set_num_threads(1)
    cfg = configuration(overlay)
    (atlas,) = (results / "atlas").iterdir()
    store = TokenStore.open(atlas / "store" / dataset)
    split = SPLIT.read(atlas / "splits" / f"{dataset}.paper.seed0.tsv")
    pretrained = from_pretrained(results / "models" / atlas.name / "pretrain" / "full.seed0")
    told: dict[str, dict[str, object]] = {}
    for variant in ("full", "no_pretrain"):
        scores, validation, epochs = [], [], []
        for seed in SEEDS:
            start = pretrained
            if variant == "no_pretrain":
                atlas_store = TokenStore.open(atlas / "store" / "ALLTissue")
                start = pretrain(
                    atlas_store,
                    split,
                    pretrained.vocabulary,
                    pretrained.design.config,
                    cfg.pretrain,
                    cfg.training,
                    variant=variant,
                    seed=seed,
                )
            model, score = finetuned(start, cfg, store, split, task, seed)
            scores.append(score)
            validation.append(model.metrics["validation_loss"])
            epochs.append(model.metrics["epoch"])
        told[variant] = {
            name: {
                "mean": round(float(np.mean([s[name] for s in scores])), 4),
                "seeds": [round(s[name], 4) for s in scores],
            }
            for name in scores[0]
        } | {"validation_loss": np.round(validation, 4).tolist(), "best_epoch": epochs}
    report = json.loads(output.read_text()) if output.exists() else {}
    report[f"{results.name} {dataset} {task}"] = told
    output.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    run_folder, overlay_file, name, kind, report_file = sys.argv[1:]
    main(Path(run_folder), Path(overlay_file), name, kind, Path(report_file))
