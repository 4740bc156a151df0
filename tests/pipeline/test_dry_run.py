"""What the workflow would do, without doing it."""

import csv
import re
import time

import pytest


def test_the_papers_run_is_planned_quickly_offline_and_whole(snakemake):
    start = time.monotonic()
    run = snakemake("-n", "--quiet", "rules")
    seconds = time.monotonic() - start
    assert run.code == 0, run.output[-3000:]
    jobs = run.jobs()
    assert jobs["resolve"] == jobs["download"] == jobs["align_cellranger_arc"] == 45
    assert jobs["count"] == jobs["filter_cells"] == jobs["cluster"] == 45
    assert "checkpoint" not in run.output.lower()
    assert "assumed samples: fallopian_tube, bile_duct, retina (snakemake plan" in run.output
    assert seconds < 15


def test_a_plan_tells_costs_and_cautions_beside_a_running_workflow(snakemake, tmp_path):
    folder = tmp_path / "run"
    locks = folder / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text(f"{folder}/results/report.html\n")
    run = snakemake("plan", "--directory", folder)
    assert run.code == 0, run.output[-3000:]
    assert "45 samples, 45 with cautions, 3 of them ASSUMED" in run.output
    jobs = list(
        csv.DictReader((folder / "results/plan.tsv").read_text().splitlines(), delimiter="\t")
    )
    assert sum(job["rule"] == "resolve" for job in jobs) == 45
    assert sum(float(job["download_gb"]) for job in jobs) == pytest.approx(1920, abs=10)
    assert sum(float(job["gpu_hours"]) for job in jobs) > 10
    assert {path.name for path in (folder / "results").iterdir()} == {"plan.tsv", "plan.txt"}
    assert (locks / "0.output.lock").exists()
    bad = snakemake("plan", "nowhere", "--directory", folder)
    assert bad.code != 0
    assert "the run cannot be planned" in bad.output
    assert "Traceback" not in bad.output


def test_the_demo_has_few_jobs(snakemake):
    run = snakemake("-n", "--quiet", "rules", "--forceall", "--configfile", "config/demo.yaml")
    assert run.code == 0, run.output[-3000:]
    assert sum(run.jobs().values()) <= 172


@pytest.mark.parametrize("target", ["tables", "figures", "report", "all"])
def test_every_target_of_results_ends_by_asking_whether_one_is_missing(snakemake, target):
    demo = ("--forceall", "--configfile", "config/demo.yaml")
    run = snakemake("-n", *demo, "--", target)
    assert run.code == 0, run.output[-3000:]
    asked = re.findall(r"results-demo/complete/(\w+)\.txt", run.output)
    assert set(asked) == {target}  # `all` makes everything before it fails, and asks once
    assert re.search(r"^complete +1$", run.output, re.MULTILINE)


@pytest.mark.parametrize("overlay", [(), ("--configfile", "config/demo.yaml")])
def test_gene_activity_is_scored_in_every_way(snakemake, overlay):
    """Binned, as it is, and fitted: no weak form of it alone stands beside the model."""
    run = snakemake("-n", "--forceall", *overlay, "--until", "predict_expression_baselines")
    assert run.code == 0, run.output[-3000:]
    for method in ("gene_activity", "gene_activity_log", "gene_activity_affine"):
        assert f"/Kidney/paper.seed0/expression/{method}.h5ad" in run.output


def test_the_demo_can_have_two_batches_of_each_tissue(snakemake):
    overlays = ("config/demo.yaml", "config/demo_two_batches.yaml")
    run = snakemake("-n", "--quiet", "rules", "--forceall", "--configfile", *overlays)
    assert run.code == 0, run.output[-3000:]
    assert run.jobs()["align_open"] == 12


def test_the_miniatlas_alone_needs_no_training(snakemake):
    run = snakemake("-n", "--quiet", "rules", "--", "miniatlas")
    assert run.code == 0, run.output[-3000:]
    assert "call_peaks" in run.jobs()
    assert not {"pretrain", "tables", "figures"} & run.jobs().keys()


def test_the_authors_release_enters_by_eight_files(snakemake):
    overlay = "config/miniatlas_released.yaml"
    run = snakemake("-n", "--quiet", "rules", "--configfile", overlay, "--", "miniatlas")
    assert run.code == 0, run.output[-3000:]
    jobs = run.jobs()
    assert (jobs["fetch_input"], jobs["import_matrices"], jobs["assemble"]) == (8, 4, 4)
    assert not {"align_cellranger_arc", "call_peaks", "count", "label"} & jobs.keys()


def test_an_unpacked_reference_is_not_fetched(snakemake, tmp_path):
    run = snakemake("-n", "--quiet", "rules", "--config", f"reference={{fasta: {tmp_path}}}")
    assert run.code == 0, run.output[-3000:]
    assert run.jobs()["unpack_arc_reference"] == 1
    assert run.jobs()["fetch_reference"] == 1  # the blacklist


def test_the_configurations_own_files_are_found_from_another_folder(snakemake, root, tmp_path):
    profiles = "config/sample_terms.tsv"  # any table of the checkout: a plan reads none
    overlay = tmp_path / "profiles.yaml"
    overlay.write_text(f"labels: {{profiles: {profiles}}}\n")
    run = snakemake(
        *("-n", "--directory", tmp_path, "--configfile", overlay),
        *("--snakefile", root / "Snakefile", "--", "cellxgene"),
    )
    assert run.code == 0, run.output[-3000:]
    assert run.jobs()["write_cellxgene"] > 1
    assert f"{root / profiles}" in run.output
    assert "fetch_profiles" not in run.jobs()


def test_one_more_sample_adds_its_branch_and_what_follows_the_peaks(snakemake, tmp_path, root):
    sheet = (root / "config/samples.tsv").read_text()
    first = next(line for line in sheet.splitlines() if "\tminiatlas\tatlas\t" in line)
    more = tmp_path / "samples.tsv"
    more.write_text(f"{sheet.rstrip()}\nmy_sample\t{first.split(chr(9), 1)[1]}\n")
    run = snakemake("-n", "--quiet", "rules", "--config", f"samples={more}")
    assert run.code == 0, run.output[-3000:]
    assert run.jobs()["download"] == 46


def planned(snakemake, *settings, target="all"):
    run = snakemake(
        *("-n", "--quiet", "rules", "--forceall", "--configfile", "config/demo.yaml"),
        *("--config", *settings, "--", target),
    )
    assert run.code == 0, run.output[-3000:]
    return run.jobs()


def test_peaks_of_a_file_are_not_called(snakemake, tmp_path):
    frozen = tmp_path / "peaks.bed"
    frozen.write_text("chr1\t100\t600\n")
    jobs = planned(snakemake, f"peaks={{frozen: {frozen}}}")
    assert "call_peaks" not in jobs
    assert jobs["take_peaks"] == 1
    assert jobs["count"] == 9


def test_calls_by_cluster_wait_for_the_clusters_of_the_rna(snakemake):
    without_report = "miniatlas"
    assert "cluster_rna" not in planned(snakemake, "peaks={calls: sample}", target=without_report)
    jobs = planned(snakemake, "peaks={calls: cluster}", target=without_report)
    assert jobs["call_peaks"] == 1
    assert jobs["cluster_rna"] == 3  # of the samples that are pooled


def test_labels_of_rna_clusters_do_not_wait_for_both_modalities(snakemake):
    profiles = "profiles: results-demo/simulated/profiles.tsv"
    jobs = planned(snakemake, f"labels={{source: disco_rna, {profiles}}}")
    assert jobs["cluster_rna"] == jobs["label"] == 9
    assert not {"cluster", "compare_labels"} & jobs.keys()
    few = "cluster={small_samples: true}"  # WNN clusters any sample, so that the report compares
    jobs = planned(snakemake, f"labels={{source: disco_rna, {profiles}}}", few)
    assert jobs["cluster"] == jobs["label"] == 9
    assert jobs["compare_labels"] == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        pytest.param("qc={min_rna_umi: 3}", "qc.min_rna_umi: no such key", id="misspelt key"),
        pytest.param("qc={min_rna_umis: 30000}", "min_rna_umis must be below", id="crossed"),
        pytest.param("align={engine: bowtie}", "align.engine", id="unknown engine"),
        pytest.param("samples=nowhere.tsv", "nowhere.tsv does not exist as a file", id="no sheet"),
        pytest.param("peaks={q_value: null}", "peaks.q_value", id="emptied key"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(snakemake, setting, message):
    run = snakemake("-n", "--config", setting)
    assert run.code != 0
    assert message in run.output
    assert "Traceback" not in run.output


def test_a_wrong_sheet_names_every_mistake_at_once(snakemake, tmp_path, root):
    lines = (root / "config/samples.tsv").read_text().splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("sample\t"))
    spaced = lines[header + 1].replace(lines[header + 1].split("\t")[0], "my sample", 1)
    repeated = lines[header + 2]
    wrong = tmp_path / "samples.tsv"
    wrong.write_text("\n".join([*lines[: header + 1], spaced, repeated, repeated]))
    run = snakemake("-n", "--config", f"samples={wrong}")
    assert run.code != 0
    assert "my sample: a sample name has letters" in run.output
    assert "is listed twice" in run.output
    assert "Traceback" not in run.output


def test_pretraining_may_start_from_a_model(snakemake, tmp_path):
    """Of which it is an input, so that another model there trains anew."""
    (tmp_path / "config.json").write_text("{}")
    run = snakemake(
        *("-n", "--forceall", "--configfile", "config/demo.yaml", "--config"),
        *(f"pretrain={{start_from: {tmp_path}}}", "benchmark={ablations: []}"),
        *("--", "results-demo/models/miniatlas/pretrain/full.seed0"),
    )
    assert run.code == 0, run.output[-3000:]
    assert f"vocabulary, {tmp_path}" in run.output


def test_the_full_grid_is_planned(snakemake):
    overlays = ("config/demo.yaml", "config/demo_full.yaml")
    run = snakemake("-n", "--quiet", "rules", "--forceall", "--configfile", *overlays)
    assert run.code == 0, run.output[-3000:]
    jobs, seeds, datasets, protocols = run.jobs(), 3, 5, 7
    refused = 2  # of Liver, one sample: none can be held out, nor a donor
    assert jobs["annotate_controls"] == seeds * (datasets * (protocols - 1) - refused)
    assert jobs["predict_expression_baselines"] == seeds * (datasets * 3 - refused)
    # Three variants, one without the liver, the untrained one; two that hold out of ALLTissue.
    assert jobs["pretrain"] == seeds * (5 + 2)
    ablated, without_labels = 3, 2  # Table 4: three seeds on three sets
    assert jobs["embed_ablation"] == seeds * ablated * without_labels
    assert jobs["embed_pretrained"] == seeds * (4 * 4 - refused)
    assert jobs["compare_methods"] == jobs["collect_metrics"] == 1


@pytest.mark.parametrize(
    ("overlays", "ablated"),
    [
        pytest.param((), ["BMMC", "Kidney", "PBMC"], id="paper"),
        pytest.param(("config/demo.yaml",), ["Kidney"], id="demo"),
        pytest.param(
            ("config/demo.yaml", "config/demo_full.yaml"), ["BMMC", "Kidney", "Liver"], id="full"
        ),
        pytest.param(("config/miniatlas_released.yaml",), ["Kidney"], id="released"),
    ],
)
def test_how_many_sets_are_ablated(snakemake, overlays, ablated):
    options = ("--configfile", *overlays) if overlays else ()
    run = snakemake("-n", "--forceall", *options, "--until", "embed_ablation")
    assert run.code == 0, run.output[-3000:]
    pattern = r"/(\w+)/paper\.seed0/integration/epifoundation_no_batch\.parquet"
    assert sorted(set(re.findall(pattern, run.output))) == ablated


def test_data_sets_that_no_sample_is_of_are_named(snakemake):
    demo = ("-n", "--quiet", "rules", "--configfile", "config/demo.yaml", "--config")
    some, none = "{integration_datasets: [Kidny, BMMC]}", "{integration_datasets: [Kidny]}"
    target = ("--", "results-demo/metrics.tsv")
    run = snakemake(*demo, f"benchmark={some}", *target)
    assert run.code == 0, run.output[-3000:]
    assert "integration_datasets names Kidny, and config/demo_samples.tsv has no" in run.output
    run = snakemake(*demo, f"benchmark={none}", *target)
    assert run.code != 0
    assert "has none of benchmark.integration_datasets (Kidny)" in run.output
