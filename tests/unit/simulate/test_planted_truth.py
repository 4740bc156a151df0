import numpy as np
import pytest

from epifoundation.multiome import check_multiome
from epifoundation.simulate import simulate_multiome
from epifoundation.simulate.annotation import gtf_lines
from epifoundation.simulate.cells import depth_offset
from epifoundation.simulate.design import (
    CELL_TYPES,
    LINEAGE_OF,
    LINEAGES,
    RARE_TYPE,
    SAMPLES,
    SISTERS,
    SIZES,
    Difficulty,
)
from epifoundation.simulate.planted import plant_multiome
from epifoundation.simulate.regions import nearby_pairs


@pytest.fixture(scope="module", params=[0, 1])
def planted(request):
    """The demo's genes, regions and programme, with two of its samples."""
    size = SIZES["demo"]
    few = type(size)(**{**vars(size), "samples": ("Lung", "Kidney_2")})
    return plant_multiome(request.param, few)


def test_genome_and_genes_are_as_large_as_specified(planted):
    annotation = planted.annotation
    nuclear = [annotation.chrom_sizes[name] for name in annotation.chromosomes]
    assert len(nuclear) >= 3
    assert sum(nuclear) >= 20e6
    assert len(annotation.genes) >= 4000
    assert annotation.genes["gene_id"].is_unique
    assert annotation.genes["gene_name"].is_unique
    assert len(annotation.blacklist) >= 5


def test_genes_do_not_overlap_and_exons_fill_them(planted):
    genes, exons = planted.annotation.genes, planted.annotation.exons
    for _, rows in genes.groupby("chrom"):
        assert (rows["start"].to_numpy()[1:] >= rows["end"].to_numpy()[:-1]).all()
    spans = exons.groupby("gene").agg({"start": "min", "end": "max"})
    assert (spans["start"] == genes["start"]).all()
    assert (spans["end"] == genes["end"]).all()
    assert (exons["end"] - exons["start"]).min() >= 90


def test_gtf_has_the_keys_of_10x(planted):
    lines = [line.split("\t") for line in gtf_lines(planted.annotation) if line[0] != "#"]
    genes = planted.annotation.genes
    kinds = [line[2] for line in lines]
    assert kinds.count("gene") == kinds.count("transcript") == len(genes)
    assert kinds.count("exon") == len(planted.annotation.exons)
    first = lines[0]
    assert int(first[3]) == genes["start"][0] + 1
    assert int(first[4]) == genes["end"][0]
    for key in ("gene_id", "gene_type", "gene_name"):
        assert f'{key} "{genes[key][0]}";' in first[8]
    assert "exon_number 1;" in next(line[8] for line in lines if line[2] == "exon")


def test_regions_are_apart_and_off_the_blacklist(planted):
    regions, hidden = planted.regions, planted.annotation.blacklist
    assert len(regions) == 6000
    width = regions["end"] - regions["start"]
    assert width.between(300, 900).all()
    for chrom, rows in regions.groupby("chrom"):
        assert (rows["start"].to_numpy()[1:] > rows["end"].to_numpy()[:-1]).all()
        for row in hidden[hidden["chrom"] == chrom].itertuples():
            assert not ((rows["start"] < row.end) & (rows["end"] > row.start)).any()
    assert regions["is_promoter"].mean() == pytest.approx(0.4)


def test_links_reach_far_and_skip_genes_as_specified(planted):
    links = planted.programme.links
    assert (links["distance_bp"] > 10_000).mean() >= 0.5
    assert links["skips_nearest"].mean() == pytest.approx(0.30, abs=0.01)
    skipping = links.loc[links["skips_nearest"], "distance_bp"]
    near, far = ((skipping >= low) & (skipping < low + 20_000) for low in (0, 40_000))
    assert near.sum() > 2 * far.sum()


def test_linked_genes_vary_with_their_regions_within_types(planted):
    programme, difficulty = planted.programme, Difficulty()
    linked = np.unique(programme.links["gene"])
    shared = (programme.gene_programme[:, linked] ** 2).sum(axis=0)
    other = programme.gene_type[:, linked].var(axis=0) + difficulty.gene_noise**2
    other += programme.gene_gradient[linked] ** 2 / 12  # uniform from end to end, at most
    assert np.quantile(shared / (shared + other), 0.02) >= 0.40
    unlinked = np.setdiff1d(np.arange(len(programme.gene_base)), linked)
    assert not programme.gene_programme[:, unlinked].any()


def test_types_differ_in_the_specified_shares_at_the_specified_odds(planted):
    effects = planted.programme.region_type
    in_lineage = [
        (effects[[LINEAGE_OF[t] == name for t in CELL_TYPES]] > 0).all(axis=0) for name in LINEAGES
    ]
    assert 0.10 <= np.mean(np.any(in_lineage, axis=0)) <= 0.15
    assert 4 <= np.exp(effects[:, np.any(in_lineage, axis=0)].max()) <= 6
    for one, other in SISTERS:
        apart = effects[CELL_TYPES.index(one)] - effects[CELL_TYPES.index(other)]
        assert 0.02 <= (apart != 0).mean() <= 0.04
        assert 2 <= np.exp(np.abs(apart).max()) <= 4


def test_depths_are_as_specified(planted):
    for cells in planted.samples.values():
        single = ~cells.obs["is_doublet"].to_numpy()
        fragments = np.asarray(cells.atac.sum(axis=1)).ravel()[single]
        umis = np.asarray(cells.rna.sum(axis=1)).ravel()[single]
        assert 1500 < np.median(fragments) < 4000
        assert 1500 < np.median(umis) < 4000
        assert 0.4 < np.log(fragments).std() < 0.6
        assert 0.3 < np.corrcoef(np.log(fragments), np.log(umis))[0, 1] < 0.7
        assert ((fragments > 1000) & (umis > 1000)).sum() > 200
        assert cells.obs["is_doublet"].mean() == pytest.approx(0.04, abs=0.01)


def test_samples_are_as_specified():
    assert len(CELL_TYPES) >= 8
    assert len(LINEAGES) == 3
    sizes = [sample.n_cells for sample in SAMPLES]
    assert min(sizes) > 200
    assert max(sizes) >= 500
    atlas = [sample for sample in SAMPLES if not sample.dataset]
    donors = [{s.donor for s in SAMPLES if bool(s.dataset) is side} for side in (True, False)]
    assert len(donors[0] & donors[1]) == 1
    for dataset in ("Kidney", "PBMC", "BMMC"):
        first, second = (s for s in SAMPLES if s.dataset == dataset)
        assert second.depth / first.depth == pytest.approx(1.4)
        assert len(set(first.composition) ^ set(second.composition)) == 1
        known = {name for sample in atlas for name in sample.composition}
        assert {*first.composition, *second.composition} <= known
    for sample in SAMPLES:
        share = sample.composition.get(RARE_TYPE)
        assert share is None or (share >= 0.05 and share * sample.n_cells >= 30)
    layouts = [sample.layout for sample in SAMPLES]
    assert layouts.count("forward_spacer") == layouts.count("trimmed") == 1


def test_nearby_pairs_agree_with_a_loop(planted):
    regions, genes = planted.regions[:40], planted.annotation.genes[:60]
    pairs = nearby_pairs(regions, genes, 20_000)
    expected = set()
    for region in regions.itertuples():
        centre = (region.start + region.end) // 2
        distances = {
            gene.Index: abs(gene.tss - centre)
            for gene in genes.itertuples()
            if gene.chrom == region.chrom
        }
        expected |= {
            (region.Index, gene, distance, distance == min(distances.values()))
            for gene, distance in distances.items()
            if distance <= 20_000
        }
    assert set(pairs.itertuples(index=False, name=None)) == expected


def test_depth_offset_gives_the_wanted_number():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(-2, 1, (5, 400)).astype(np.float32)
    wanted = np.array([5.0, 40, 80, 150, 300])
    offset = depth_offset(log_odds, wanted)
    total = (1 / (1 + np.exp(-(log_odds + offset[:, None])))).sum(axis=1)
    assert total == pytest.approx(wanted, rel=1e-3)


def test_simulated_multiome_keeps_the_contract_and_its_seed():
    first, again, other = (simulate_multiome(seed, 120) for seed in (0, 0, 1))
    needed = ("sample", "batch", "tissue", "donor", "cell_type")
    check_multiome(first, "simulated", needs_obs=needed)
    assert first.n_obs == pytest.approx(120, abs=2)
    for part in ("rna", "atac"):
        assert (first[part].X != again[part].X).nnz == 0
        assert first[part].X.shape[0] == first.n_obs
    assert first["atac"].X.sum() != other["atac"].X.sum()
    assert first.obs["batch"].nunique() == 2
    assert {"chrom", "start", "end"} <= set(first["atac"].var)
    assert {"gene_id", "chrom", "gene_type"} <= set(first["rna"].var)
