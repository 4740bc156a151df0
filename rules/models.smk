# What each pretraining reads and each fine-tuning starts from, and the modules they run:
# functions of pretrain.smk and finetune.smk.

MODEL_CODE = (
    "data/expression.py",
    "data/store.py",
    "data/vocabulary.py",
    "hub/directory.py",
    "hub/reading.py",
    "hub/weights.py",
    "model/attention.py",
    "model/batch_norm.py",
    "model/losses.py",
    "model/network.py",
    "model/packing.py",
    "model/parts.py",
    "training/checkpoint.py",
    "training/dataset.py",
    "training/distributed.py",
    "training/launch.py",
    "training/loader.py",
    "training/loop.py",
    "training/metrics.py",
    "training/objectives.py",
    "training/preparation.py",
    "training/pretrain.py",
    "training/run.py",
    "training/schedule.py",
    "training/start.py",
    "training/validation.py",
)
PRETRAIN_CODE = (
    *MODEL_CODE,
    "contracts.py",
    "data/leaks.py",
    "data/splits.py",
    "protocols.py",
    "training/pretraining_cells.py",
)
SPLIT_CODE = ("contracts.py", "data/leaks.py", "protocols.py")
FINETUNE_CODE = (
    *MODEL_CODE,
    *SPLIT_CODE,
    "model/adapters.py",
    "training/finetune.py",
)
PREDICT_CODE = (
    *MODEL_CODE,
    *SPLIT_CODE,
    "inference/precision.py",
    "inference/predict.py",
)


def pretraining_split(wildcards):
    """The split of the atlas whose training cells a pretraining reads."""
    apart = wildcards.pretraining.partition(".")[2]
    protocol = apart if apart in protocols.HELD_OUT else "paper"
    return f"{R}/atlas/{wildcards.atlas}/splits/ALLTissue.{protocol}.seed{wildcards.seed}.tsv"


def pretraining_cells(wildcards):
    """The variant, the tissues left out, and whether the atlas's test cells are read too."""
    variant, _, apart = wildcards.pretraining.partition(".")
    return {
        "variant": variant,
        "without": protocols.tissues_left_out(
            sheet, wildcards.atlas, wildcards.pretraining
        ),
        "test_too": cfg.benchmark.pretraining_sees_test_cells
        and apart not in protocols.HELD_OUT,
    }


def pretrained(wildcards):
    """The pretrained model that a data set's fine-tuning starts from in a protocol."""
    pretraining = protocols.pretraining_of(
        wildcards.get("variant", "full"), wildcards.dataset, wildcards.protocol
    )
    return f"{R}/models/{wildcards.atlas}/pretrain/{pretraining}.seed{wildcards.seed}"


def may_test_pretrained_cells(wildcards):
    """Whether test cells of a data set may have been read in pretraining."""
    return (
        cfg.benchmark.pretraining_sees_test_cells and wildcards.dataset == "ALLTissue"
    )
