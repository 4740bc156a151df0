"""EpiFoundation: a foundation model for single-cell ATAC-seq via peak-to-gene alignment."""

__version__ = "0.1.0"
