"""Errors a user can act on. Anything else that is raised is a bug of ours."""


class EpiFoundationError(Exception):
    """The run cannot go on, for a reason the message explains."""


class ConfigError(EpiFoundationError):
    """The configuration or the sample sheet cannot be used."""


class ContractError(EpiFoundationError):
    """A file does not hold what the step that reads or writes it relies on."""


class AcquireError(EpiFoundationError):
    """An accession cannot be resolved, or a download cannot be completed or verified."""


class AlignError(EpiFoundationError):
    """Reads cannot be turned into fragments and counts."""


class DataError(EpiFoundationError):
    """Fragments, counts or profiles cannot be used for the step at hand."""


class ModelError(EpiFoundationError):
    """A model cannot be built, loaded or trained as asked."""


class EvaluationError(EpiFoundationError):
    """A method or metric cannot be computed on these cells."""


class ToolError(EpiFoundationError):
    """A native program is missing, of the wrong version, or failed."""
