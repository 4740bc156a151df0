import pytest
import yaml
from pydantic import BaseModel
from snakemake.utils import update_config

from epifoundation.config import Config, check_given_files, load_config
from epifoundation.errors import ConfigError

OVERLAYS = (
    ("demo",),
    ("demo", "demo_fragments"),
    ("demo", "demo_full"),
    ("demo", "demo_matrices"),
    ("demo", "demo_two_batches"),
    ("bmmc_real",),
    ("pbmc_fragments_real",),
    ("miniatlas_released",),
)


@pytest.fixture
def shipped(root):
    return yaml.safe_load((root / "config.yaml").read_text())


def test_the_shipped_configuration_is_the_papers(shipped):
    cfg = load_config(shipped)
    model = cfg.model
    assert (model.n_layers, model.n_heads, model.d_model) == (6, 8, 512)  # Table 5
    assert (model.max_peaks, model.max_genes, model.dropout) == (12_000, 8_000, 0.15)
    train = cfg.pretrain
    assert (train.epochs, train.learning_rate) == (140, 1e-4)
    assert (train.accumulation_steps, train.cells_per_minibatch) == (20, 8)
    qc = cfg.qc
    assert (qc.min_rna_umis, qc.max_rna_umis) == (1_000, 25_000)  # A.0.2
    assert (qc.min_atac_reads, qc.max_atac_reads) == (1_000, 100_000)
    assert (qc.max_nucleosome_signal, qc.min_tss_enrichment) == (2, 1)


@pytest.mark.parametrize("overlays", OVERLAYS, ids="+".join)
def test_overlays_are_valid(shipped, root, overlays):
    for overlay in overlays:
        update_config(shipped, yaml.safe_load((root / f"config/{overlay}.yaml").read_text()))
    load_config(shipped)


def test_every_overlay_is_tested(root):
    tested = {name for overlays in OVERLAYS for name in overlays}
    assert tested == {path.stem for path in (root / "config").glob("*.yaml")}


def test_all_mistakes_are_reported_at_once(shipped):
    shipped["model"]["dropout"] = 2
    shipped["model"]["n_layer"] = shipped["model"].pop("n_layers")
    with pytest.raises(ConfigError) as error:
        load_config(shipped)
    for expected in ("model.dropout", "got 2", "model.n_layers: Field required", "model.n_layer:"):
        assert expected in str(error.value)


def test_an_old_configuration_is_told_as_one_and_not_printed(shipped):
    for key in ("n_layers", "d_model"):
        del shipped["model"][key]
    with pytest.raises(ConfigError, match="of another version") as error:
        load_config(shipped)
    assert "n_heads" not in str(error.value)


def test_every_setting_says_what_it_means():
    def undocumented(section: type[BaseModel], where: str) -> list[str]:
        found = []
        for name, field in section.model_fields.items():
            nested = field.annotation
            if isinstance(nested, type) and issubclass(nested, BaseModel):
                found += undocumented(nested, f"{where}{name}.")
            elif not field.description:
                found.append(where + name)
        return found

    assert undocumented(Config, "") == []


@pytest.mark.parametrize(
    ("section", "changed", "message"),
    [
        pytest.param("labels", {"profiles": None}, "disco_wnn needs profiles", id="profiles"),
        pytest.param("atlas", {"test_fraction": 0.97}, "leave no cell to train on", id="fractions"),
        pytest.param("pretrain", {"min_learning_rate": 1}, "is above learning_rate", id="rates"),
        pytest.param(
            "cluster", {"n_neighbors": 300}, "must be below neighbor_range", id="neighbours"
        ),
        pytest.param(
            "cluster", {"n_neighbors": 200}, "counts the cell itself", id="all candidates"
        ),
        pytest.param("cluster", {"n_variable_genes": -5}, "n_variable_genes", id="no genes"),
        pytest.param("cluster", {"peak_percentile": 1}, "peak_percentile", id="no peaks"),
        pytest.param(
            *("cellxgene", {"genes": "https://x.org/genes.csv"}, "download it, and give its path"),
            id="a URL of genes",
        ),
        pytest.param(
            *("cellxgene", {"sample_terms": "s3://x/terms.tsv"}, "got 's3://x/terms.tsv'"),
            id="a URL of terms",
        ),
        pytest.param("model", {"n_heads": 7}, "is not a multiple of n_heads", id="heads"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(shipped, section, changed, message):
    shipped[section] |= changed
    with pytest.raises(ConfigError, match=message):
        load_config(shipped)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"peaks": {"frozn": "p.bed"}}, r"peaks\.frozn: .* Did you mean frozen\?"),
        ({"qc": {"min_rna_umi": 3}}, r"qc\.min_rna_umi: .* Did you mean min_rna_umis\?"),
        ({"bechmark": {}}, r"bechmark: .* Did you mean benchmark\?"),
    ],
)
def test_a_misspelt_key_is_told_what_it_may_be(shipped, changed, message):
    for section, values in changed.items():
        shipped[section] = {**shipped.get(section, {}), **values}
    with pytest.raises(ConfigError, match=message):
        load_config(shipped)


def test_given_files_that_are_missing_are_named_by_their_keys(shipped, tmp_path):
    shipped["peaks"] |= {"frozen": "absent.bed"}
    shipped["labels"] |= {"profiles": str(tmp_path / "p.csv")}
    with pytest.raises(ConfigError) as error:
        check_given_files(load_config(shipped), tmp_path)
    assert "peaks.frozen: absent.bed does not exist" in str(error.value)
    assert "labels.profiles: " in str(error.value)
    (tmp_path / "absent.bed").touch()
    shipped["labels"] |= {"profiles": f"{shipped['results_dir']}/simulated/p.csv"}
    check_given_files(load_config(shipped), tmp_path)


@pytest.mark.parametrize("stage", ["finetune_cell_type", "finetune_expression"])
def test_a_rank_is_one_that_the_matrices_of_the_model_can_have(shipped, stage):
    shipped[stage] |= {"lora_rank": 513}
    load_config(shipped)
    shipped[stage] |= {"trainable": "lora"}
    with pytest.raises(ConfigError, match=rf"{stage}\.lora_rank is 513, .* rank of 512 at most"):
        load_config(shipped)


def test_a_start_is_a_model_directory_and_for_the_full_model_alone(shipped, tmp_path):
    shipped["pretrain"] |= {"start_from": "authors"}
    with pytest.raises(ConfigError) as error:
        load_config(shipped)
    assert "pretrain.start_from gives weights for the full model" in str(error.value)
    assert "(no_batch, no_chromosome, no_tissue)" in str(error.value)
    assert len(str(error.value)) < 400  # the settings of other sections are not told
    shipped["benchmark"] |= {"ablations": ["no_pretrain"]}
    with pytest.raises(ConfigError, match=r"pretrain\.start_from: authors is no model directory"):
        check_given_files(load_config(shipped), tmp_path)
    (tmp_path / "authors").mkdir()
    (tmp_path / "authors" / "config.json").touch()
    check_given_files(load_config(shipped), tmp_path)
