"""Errors a user can act on. Anything else that is raised is a bug of ours."""

import errno


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


class LeakError(EpiFoundationError):
    """Cells that test something were, or would be, learned from."""


class EvaluationError(EpiFoundationError):
    """A method or metric cannot be computed on these cells."""


class MethodError(EvaluationError):
    """A method broke down or cannot be started here: its results are missing, not undefined."""


class ToolError(EpiFoundationError):
    """A native program is missing, of the wrong version, or failed."""


class DiskFullError(EpiFoundationError):
    """There is no room left to write an output."""


def told_by_system(error: OSError) -> str | None:
    """Return the line for a missing file, a lack of rights or of space; None for the rest."""
    hints = {
        errno.ENOENT: "Check the path.",
        errno.ENOTDIR: "Check the path.",
        errno.EISDIR: "Name a file, not a folder.",
        errno.EEXIST: "Name another, or remove it.",
        errno.EACCES: "Check who may read and write there.",
        errno.EPERM: "Check who may read and write there.",
        errno.EROFS: "Write to another disk.",
        errno.ENOSPC: "Free space and start again; nothing is half-written.",
        errno.EDQUOT: "Free space and start again; nothing is half-written.",
    }
    hint = hints.get(error.errno or 0)
    return None if hint is None else f"{error.filename or 'a file'}: {error.strerror}. {hint}"


def in_a_line(error: BaseException) -> str:
    """Return the first line that an error of a library says, or else its kind."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
