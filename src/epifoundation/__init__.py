"""EpiFoundation: a foundation model for single-cell ATAC-seq via peak-to-gene alignment."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from epifoundation.hub import from_pretrained

__version__ = "0.1.0"
__all__ = ["__version__", "from_pretrained"]


def __getattr__(name: str) -> object:
    """Load what needs torch only when it is asked for: the Snakefile imports this package."""
    if name == "from_pretrained":
        from epifoundation.hub import from_pretrained

        return from_pretrained
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
