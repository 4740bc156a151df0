"""The model directory: everything needed to use a model, in files anyone can read."""

from epifoundation.hub.authors import import_authors
from epifoundation.hub.directory import Design, FoundationModel, build_network
from epifoundation.hub.reading import from_pretrained

__all__ = ["Design", "FoundationModel", "build_network", "from_pretrained", "import_authors"]
