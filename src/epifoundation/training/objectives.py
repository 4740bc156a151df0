"""What each stage asks of the network."""

from collections.abc import Callable

from epifoundation.model.losses import Loss, cross_entropy, squared_error
from epifoundation.model.network import EpiFoundation
from epifoundation.training.dataset import Minibatch

Objective = Callable[[EpiFoundation, Minibatch], Loss]


def align_genes(network: EpiFoundation, minibatch: Minibatch) -> Loss:
    """Peak-to-gene alignment: is each asked gene expressed in its cell? (eq. 10)."""
    assert minibatch.genes is not None
    z = network(minibatch.cells)
    logits = network.gene_logits(z, minibatch.cells, minibatch.genes)
    return cross_entropy(logits, minibatch.genes.targets)


def name_cell_types(network: EpiFoundation, minibatch: Minibatch) -> Loss:
    """Cell type of each cell (eq. 12)."""
    assert minibatch.cell_types is not None
    return cross_entropy(network.cell_type_logits(network(minibatch.cells)), minibatch.cell_types)


def predict_levels(network: EpiFoundation, minibatch: Minibatch) -> Loss:
    """Expression level of each asked gene (eq. 14)."""
    assert minibatch.genes is not None
    levels = network.expression_levels(network(minibatch.cells), minibatch.genes)
    return squared_error(levels, minibatch.genes.targets)
