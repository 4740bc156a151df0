"""The numbers printed in the paper (first version, Tables 1 to 5), as data."""

INTEGRATION_COLUMNS = ("iso", "nmi", "casw", "clisi", "basw", "gc")
TABLE_1 = {
    "Kidney": {
        "pca": (0.4568, 0.3273, 0.5346, 0.9936, 0.8504, 0.4714),
        "scanvi": (0.5668, 0.2007, 0.4743, 0.9962, 0.8890, 0.7732),
        "harmony": (0.4459, 0.2964, 0.5375, 0.9934, 0.8735, 0.3995),
        "liger": (0.5288, 0.0942, 0.2581, 0.9700, 0.7252, 0.2911),
        "epifoundation": (0.4995, 0.5681, 0.6685, 1.0000, 0.9069, 0.8267),
    },
    "BMMC": {  # printed as "BMBC"
        "pca": (0.5310, 0.5039, 0.4491, 0.9753, 0.8240, 0.4887),
        "scanvi": (0.4836, 0.4823, 0.4742, 0.9769, 0.8623, 0.6500),
        "harmony": (0.5241, 0.4760, 0.4555, 0.9598, 0.8093, 0.3739),
        "liger": (0.5277, 0.3942, 0.4157, 0.9482, 0.7164, 0.4919),
        "epifoundation": (0.5508, 0.5773, 0.5599, 0.9876, 0.8959, 0.6856),
    },
    "PBMC": {
        "pca": (0.7462, 0.6718, 0.4461, 0.9892, 0.8821, 0.3234),
        "scanvi": (0.5798, 0.4934, 0.4985, 0.9831, 0.8782, 0.6148),
        "harmony": (0.7096, 0.6355, 0.4493, 0.9880, 0.8571, 0.2807),
        "liger": (0.5215, 0.0644, 0.4378, 0.7587, 0.8747, 0.1868),
        "epifoundation": (0.6377, 0.7378, 0.5965, 0.9991, 0.9038, 0.6837),
    },
}

ANNOTATION_COLUMNS = ("accuracy", "macro_f1", "micro_f1", "roc_auc")
TABLE_2 = {
    "Kidney": {"epifoundation": (0.9135, 0.7081, 0.9135, 0.9866)},
    "PBMC": {"epifoundation": (0.8837, 0.6299, 0.8837, 0.9764)},
    "BMMC": {"epifoundation": (0.7615, 0.5026, 0.7615, 0.9758)},
    "ALLTissue": {"epifoundation": (0.8423, 0.6934, 0.8423, 0.978)},
}

EXPRESSION_COLUMNS = ("mse", "spearman", "pearson")
TABLE_3 = {
    "PBMC": {
        "gene_activity": (10.2098, 0.1609, 0.1635),
        "epifoundation": (6.7642, 0.4221, 0.4776),
    },
    "BMMC": {
        "gene_activity": (12.5869, 0.1766, 0.1779),
        "epifoundation": (8.7789, 0.3661, 0.3992),
    },
    "Kidney": {
        "gene_activity": (11.5899, 0.1971, 0.2021),
        "epifoundation": (7.5959, 0.4030, 0.4422),
    },
    "ALLTissue": {
        "gene_activity": (11.1423, 0.1772, 0.1803),
        "epifoundation": (9.0777, 0.3843, 0.4056),
    },
}

ABLATION_COLUMNS = ("nmi", "basw")
TABLE_4 = {
    "Kidney": {
        "epifoundation_no_chromosome": (0.4695, 0.8891),
        "epifoundation_no_batch": (0.4354, 0.8986),
        "epifoundation": (0.5681, 0.9069),
    },
}

TABLE_5 = {  # section of the configuration, key, as named in the paper
    ("model", "n_layers"): ("Attention blocks", 6),
    ("model", "n_heads"): ("Attention heads", 8),
    ("model", "max_peaks"): ("Max scATAC-seq length", 12_000),
    ("model", "max_genes"): ("Max scRNA-seq length", 8_000),
    ("model", "d_model"): ("Embedding dim", 512),
    ("model", "dropout"): ("Dropout", 0.15),
    ("pretrain", "epochs"): ("Epochs", 140),
    ("pretrain", "learning_rate"): ("Learning rate", 1e-4),
    ("pretrain", "accumulation_steps"): ("Gradient accumulation steps", 20),
    ("pretrain", "cells_per_minibatch"): ("Batch size", 8),
}
SCHEDULE, OPTIMIZER = "Cosine Annealing", "Adam"
