"""Loops over arrays as machine code."""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile the function on its first call, to be kept beside its module for later runs.

    It runs beside other threads and takes no notice of them.
    """
    return cast(Function, njit(cache=True, nogil=True)(function))
