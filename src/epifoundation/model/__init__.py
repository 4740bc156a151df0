"""The network; knows tensors only."""
