"""Lines of a fragments file as integers: one compiled pass over the text, byte by byte."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from epifoundation.data.compiled import compiled
from epifoundation.data.regions import LARGEST, Array

Names = tuple[Array, Array, Array]

TAB, NEWLINE, RETURN, HASH, ZERO, NINE = b"\t\n\r#09"
SHORTEST_LINE = 8  # c, 0, 1, b, three tabs and the line's end
# FNV-1a of 64 bits (Fowler, Noll and Vo): start and multiplier
HASH_START, HASH_FACTOR = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


@dataclass(frozen=True)
class ParsedLines:
    """The fragments of whole lines, up to the first of a chromosome that was not named.

    Coordinates are as in the file; `barcode` is -1 for barcodes that were not named. `end_byte` is
    where reading stopped, after `n_lines`; `unknown` the chromosome it stopped at, or None. Lines
    that are no fragments are left out: `n_bad` of them, the first beginning at byte `first_bad`.
    """

    chromosome: Array
    start: Array
    end: Array
    barcode: Array
    end_byte: int
    unknown: str | None
    n_lines: int
    n_bad: int
    first_bad: int


def name_table(names: Iterable[str]) -> Names:
    """Return distinct names as what parse_lines looks them up in, by their order.

    The bytes of the names, a newline after each; where each begins; positions by hash with open
    addressing, -1 where there is none. Names found by hash are compared byte by byte.
    """
    encoded = [name.encode() + b"\n" for name in names]
    begins = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    text = np.frombuffer(b"".join(encoded) or b"\n", dtype=np.uint8)
    slots = np.full(4 << len(encoded).bit_length(), -1, dtype=np.int32)
    _fill_slots(text, begins, slots)
    return text, begins, slots


def parse_lines(
    text: Array, begin: int, n_fields: int, chromosomes: Names, barcodes: Names
) -> ParsedLines:
    """Return the fragments of the lines of `text` from byte `begin` on.

    `text` ends with a newline. Empty lines and those that start with `#` are skipped. A fragment
    has `n_fields` between tabs: chromosome, start, end, barcode and any more.
    """
    n_most = (len(text) - begin) // SHORTEST_LINE + 1  # pages never written to take no memory
    chrom, start, end, barcode = (np.empty(n_most, dtype=np.int32) for _ in range(4))
    columns = (chrom, start, end, barcode)
    n, (end_byte, name_end), lines = _parse(text, begin, n_fields, chromosomes, barcodes, columns)
    try:
        unknown = text[end_byte:name_end].tobytes().decode() or None
    except UnicodeDecodeError:  # the name is no text, so that the line is no fragment
        n_lines, n_bad, first_bad = lines
        lines = n_lines + 1, n_bad + 1, first_bad if n_bad else end_byte
        end_byte, unknown = _rest_of_line(text, name_end)[1] + 1, None
    return ParsedLines(chrom[:n], start[:n], end[:n], barcode[:n], end_byte, unknown, *lines)


@compiled
def _parse(
    text: Array,
    line: int,
    n_fields: int,
    chromosomes: Names,
    barcodes: Names,
    columns: tuple[Array, Array, Array, Array],
) -> tuple[int, tuple[int, int], tuple[int, int, int]]:
    """Fill the columns; return how far, the unknown name reading stopped at, lines and bad ones."""
    n, n_lines, n_bad, first_bad = 0, 0, 0, -1
    code, name, name_end = -1, line, line  # the chromosome of the line before
    while line < len(text):
        if text[line] == HASH or _is_line_end(text, line):
            line = _rest_of_line(text, line)[1] + 1
            n_lines += 1
            continue
        if code < 0 or not _is_field(text, line, name, name_end):
            hashed, name_end = _hash(text, line)
            name = line
            code = _find(text, name, name_end, hashed, chromosomes)
        start, end, barcode = _interval(text, line + name_end - name)
        n_found, found = 0, -1
        if end >= 0 and name_end > name:
            hashed, barcode_end = _hash(text, barcode)
            found = _find(text, barcode, barcode_end, hashed, barcodes)
            if barcode_end > barcode and _is_field_end(text, barcode_end):
                n_found, newline = _rest_of_line(text, barcode_end)
        if n_found + 3 != n_fields:
            n_bad += 1
            first_bad = line if first_bad < 0 else first_bad
            newline = _rest_of_line(text, line)[1]
        elif code < 0:
            return n, (line, name_end), (n_lines, n_bad, first_bad)
        else:
            columns[0][n], columns[1][n], columns[2][n] = code, start, end
            columns[3][n] = found
            n += 1
        n_lines += 1
        line = newline + 1
    return n, (line, line), (n_lines, n_bad, first_bad)


@compiled
def _is_line_end(text: Array, position: int) -> bool:
    """Return whether the line ends here, by a newline or a return and a newline."""
    if text[position] == RETURN:
        position += 1
    return bool(text[position] == NEWLINE)


@compiled
def _is_field_end(text: Array, position: int) -> bool:
    return bool(text[position] == TAB) or _is_line_end(text, position)


@compiled
def _is_field(text: Array, line: int, begin: int, end: int) -> bool:
    """Return whether the line's first field is text[begin:end]."""
    for i in range(end - begin):
        if text[line + i] != text[begin + i]:
            return False
    return bool(text[line + end - begin] == TAB)


@compiled
def _interval(text: Array, position: int) -> tuple[int, int, int]:
    """Return two numbers after tabs, and where the field after them begins; -1 for both if not."""
    start = end = -1
    if text[position] == TAB:
        start, position = _number(text, position + 1)
    if start >= 0:
        end, position = _number(text, position + 1)
    return start, end, position + 1


@compiled
def _number(text: Array, begin: int) -> tuple[int, int]:
    """Return the number before a tab and where it ends; -1 if there is none that fits."""
    value, position = 0, begin
    while ZERO <= text[position] <= NINE and value <= LARGEST:
        value = value * 10 + text[position] - ZERO
        position += 1
    if position == begin or value > LARGEST or text[position] != TAB:
        return -1, position
    return value, position


@compiled
def _hash(text: Array, begin: int) -> tuple[Any, int]:
    """Return the hash of a field and where it ends: at a tab or any other control character."""
    hashed, position = HASH_START, begin
    while text[position] > RETURN:
        hashed = (hashed ^ np.uint64(text[position])) * HASH_FACTOR
        position += 1
    return hashed ^ (hashed >> np.uint64(32)), position


@compiled
def _find(text: Array, begin: int, end: int, hashed: Any, names: Names) -> int:
    """Return the position of text[begin:end] among the names, -1 if it is none of them."""
    letters, begins, slots = names
    mask = len(slots) - 1
    slot = np.int64(hashed & np.uint64(mask))
    while slots[slot] >= 0:
        first = begins[slots[slot]]
        if begins[slots[slot] + 1] - first - 1 == end - begin:
            i = 0
            while i < end - begin and text[begin + i] == letters[first + i]:
                i += 1
            if i == end - begin:
                return int(slots[slot])
        slot = (slot + 1) & mask
    return -1


@compiled
def _rest_of_line(text: Array, begin: int) -> tuple[int, int]:
    """Return the number of fields from `begin` to the line's end, and where that is."""
    n, position = 1, begin
    while text[position] != NEWLINE:
        n += text[position] == TAB
        position += 1
    return n, position


@compiled
def _fill_slots(text: Array, begins: Array, slots: Array) -> None:
    mask = len(slots) - 1
    for name in range(len(begins) - 1):
        hashed, _ = _hash(text, begins[name])
        slot = np.int64(hashed & np.uint64(mask))
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = name
