"""Fragment files as tabix wants them: sorted, bgzipped, indexed."""

import logging
import re
import shutil
from pathlib import Path

import polars as pl
import pysam

from epifoundation.data.fragment_reader import read_fragments
from epifoundation.data.gzipped import is_bgzf, text_blocks
from epifoundation.errors import DataError
from epifoundation.files import whole

logger = logging.getLogger(__name__)

TEXT_BYTES = 64 * 2**20
LINE = re.compile(rb"^[^#\s].*$", re.MULTILINE)


def index_fragments(source: Path | str, target: Path | str) -> None:
    """Write `target` (sorted, bgzipped) and `target`.tbi from a fragments file of any order.

    A sorted, bgzipped source is copied as it is; another is sorted by chromosome, in order of first
    appearance, start and end, in memory. The source is read once before, so that whatever
    `read_fragments` refuses is refused here; an index beside it is never taken over.
    """
    n_fragments = sum(len(chunk) for chunk in read_fragments(source))
    logger.info("%s: %d fragments", source, n_fragments)
    target = Path(target)
    index = Path(f"{target}.tbi")
    with whole(target) as partial, whole(index) as partial_index:
        if is_bgzf(source) and _indexed(shutil.copyfile(source, partial), partial_index):
            return
        logger.info("%s is not sorted and bgzipped: sorting it", source)
        plain = partial.with_suffix(".tsv")
        try:
            _sorted_rows(source).write_csv(
                plain, separator="\t", include_header=False, quote_style="never"
            )
            pysam.tabix_compress(str(plain), str(partial), force=True)
        finally:
            plain.unlink(missing_ok=True)
        if not _indexed(partial, partial_index):
            message = (
                f"{source} cannot be indexed by tabix even when sorted: is it a fragments file?"
            )
            raise DataError(message)


def _indexed(fragments: Path | str, index: Path) -> bool:
    """Index the file; return False where tabix refuses its order."""
    try:
        pysam.tabix_index(
            str(fragments), preset="bed", index=str(index), keep_original=True, force=True
        )
    except OSError as error:
        logger.info("tabix: %s", error)
        return False
    return True


def _sorted_rows(source: Path | str) -> pl.DataFrame:
    text = b"".join(text_blocks(source, TEXT_BYTES))
    first = re.search(LINE, text)
    assert first is not None  # it was read before
    names = [f"column_{i}" for i in range(first[0].count(b"\t") + 1)]
    try:
        table = pl.read_csv(
            text,
            separator="\t",
            has_header=False,
            comment_prefix="#",
            quote_char=None,
            schema=dict.fromkeys(names, pl.String) | dict.fromkeys(names[1:3], pl.Int64),
        )
    except pl.exceptions.PolarsError as error:
        message = f"{source} is not a fragments file ({str(error).splitlines()[0]})"
        raise DataError(message) from error
    filled = table.filter(pl.col(names[0]).is_not_null()).with_row_index("row")  # no empty lines
    first_row = pl.col("row").first().over(names[0])
    return filled.sort(first_row, *names[1:3], maintain_order=True).drop("row")
