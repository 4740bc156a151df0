"""Commands that score results."""

import json
import logging
import math
from pathlib import Path

from epifoundation.cli.arguments import Add, Arguments, OutputFile
from epifoundation.errors import ConfigError


def add_commands(add: Add) -> None:
    """Add the commands of this page."""
    one = add(
        "score-embedding",
        score_embedding,
        "--input X.h5ad --embedding X_pca --label type --batch batch --output s.json",
    )
    one.add_argument("--input", type=Path, required=True, help="h5ad with the embedding in obsm")
    one.add_argument("--embedding", required=True, help="key of obsm")
    one.add_argument("--label", required=True, help="column of obs with cell types")
    one.add_argument("--batch", required=True, help="column of obs with batches")
    one.add_argument("--output", type=OutputFile, required=True, help="JSON to write")


def score_embedding(args: Arguments) -> None:
    """Score an embedding by the six scIB metrics of the paper: iso nmi casw clisi basw gc."""
    import anndata as ad

    from epifoundation.evaluation.integration import integration_metrics
    from epifoundation.files import whole

    cells = ad.read_h5ad(args.input)
    for where, key in (("obsm", args.embedding), ("obs", args.label), ("obs", args.batch)):
        if key not in getattr(cells, where):
            found = ", ".join(getattr(cells, where)) or "nothing"
            message = f"{args.input} has no {where}[{key!r}] (found: {found})"
            raise ConfigError(message)
    embedding, obs = cells.obsm[args.embedding], cells.obs
    scores = integration_metrics(embedding, obs[args.label], obs[args.batch], threads=args.threads)
    values: dict[str, float | None] = {}
    for name, score in scores.items():
        values[name] = None if math.isnan(score.value) else score.value
        if score.note:
            logging.getLogger(__name__).warning("%s: %s", name, score.note)
    with whole(args.output) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n")
