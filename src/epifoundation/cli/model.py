"""Commands that make and use a model."""

from pathlib import Path

from epifoundation.cli.arguments import Add, Arguments, OutputFile, not_negative, positive


def add_commands(add: Add) -> None:
    """Add the commands of this page."""
    one = add("import-weights", import_weights, "--checkpoint X.pth --vocabularies DIR --output M")
    one.add_argument("--checkpoint", type=Path, required=True, help="the authors' .pth")
    one.add_argument(
        "--vocabularies",
        type=Path,
        required=True,
        help="folder with atac_, rna_, chr_, batch_ and cell_vocab.json and gene2chr.json",
    )
    one.add_argument(
        "--heads",
        type=positive,
        help="attention heads (default: of model_config.json there, else 8)",
    )
    one.add_argument("--output", type=Path, required=True, help="model directory to write")

    one = add("embed", embed, "--model M --matrix cells_by_peaks.h5ad --output O.h5ad")
    one.add_argument(
        "--model", required=True, help="model directory, or owner/name on Hugging Face"
    )
    one.add_argument("--matrix", type=Path, required=True, help="h5ad, cells × the model's peaks")
    one.add_argument("--output", type=OutputFile, required=True, help="h5ad to write")
    one.add_argument("--layer", help="layer of the counts (default: X)")
    one.add_argument(
        "--crops", type=positive, default=1, help="draws averaged of a cell too long (default 1)"
    )
    one.add_argument("--seed", type=not_negative, default=0, help="seed of the draws (default 0)")
    one.add_argument(
        "--batch-tokens", type=positive, help="tokens read at once; fewer take less memory"
    )
    one.add_argument("--device", help="cpu, cuda or cuda:N (default: a GPU if there is one)")
    one.add_argument(
        "--ignore-other-peaks", action="store_true", help="leave out peaks that are not the model's"
    )
    one.add_argument("--skip-empty", action="store_true", help="leave out cells without peaks")


def import_weights(args: Arguments) -> None:
    """Turn the authors' checkpoint and vocabulary files into a model directory."""
    from epifoundation.hub import import_authors

    import_authors(args.checkpoint, args.vocabularies, n_heads=args.heads).save(args.output)


def embed(args: Arguments) -> None:
    """Embed cells by their accessible peaks, which are the model's own."""
    from epifoundation.hub import from_pretrained
    from epifoundation.inference.chunks import PeakMatrix
    from epifoundation.inference.embeddings import write_embeddings
    from epifoundation.inference.matrix import BATCH_TOKENS, embed_matrix
    from epifoundation.inference.precision import choose_device

    choose_device(args.device)  # before anything is read
    model = from_pretrained(args.model)
    with PeakMatrix.open(args.matrix, args.layer) as (matrix, obs):
        embeddings = embed_matrix(
            model,
            matrix,
            crops=args.crops,
            seed=args.seed,
            batch_tokens=BATCH_TOKENS if args.batch_tokens is None else args.batch_tokens,
            device=args.device,
            ignore_other_peaks=args.ignore_other_peaks,
            skip_empty=args.skip_empty,
        )
        made = {"model": str(args.model), "crops": args.crops, "seed": args.seed}
        write_embeddings(embeddings, obs, args.output, vocabulary=model.vocabulary.hash, **made)
