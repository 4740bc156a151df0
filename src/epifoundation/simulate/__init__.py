"""A simulated multiome with planted truth."""

from epifoundation.simulate.planted import simulate_multiome

__all__ = ["simulate_multiome"]
