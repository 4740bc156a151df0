"""A simulated multiome with planted truth."""
