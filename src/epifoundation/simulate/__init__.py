"""A simulated multiome with planted truth."""

from epifoundation.simulate.planted import simulate_multiome
from epifoundation.simulate.simulation import write_simulation

__all__ = ["simulate_multiome", "write_simulation"]
