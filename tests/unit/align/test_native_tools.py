"""Native programs that are missing, too old or fail say so, with a way out."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from epifoundation.align.tools import (
    Program,
    filter_through,
    find_program,
    run_program,
    write_through,
)
from epifoundation.errors import AlignError, ToolError

VERSION = 'if [ "$1" = --version ]; then echo tool 1.4.2; exit 0; fi\n'


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Program:
    """Put a shell script of this name on PATH; each test has its own, since finds are cached."""
    name = f"tool-{folder.name}"
    path = folder / name
    path.write_text(f"#!/bin/sh\n{VERSION}{body}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return Program(name, ("--version",), r"tool (\d+)\.(\d+)", (1, 4), "tool-package")


def test_missing_program() -> None:
    absent = Program("no-such-program", (), "", (1,), "some-package")
    with pytest.raises(ToolError, match="no-such-program is not on PATH.*some-package"):
        find_program(absent)


def test_old_program(tmp_path, monkeypatch) -> None:
    known = stand_in(tmp_path, monkeypatch, "")
    needed = Program(known.name, known.version_arguments, known.version_pattern, (1, 5), "p")
    with pytest.raises(ToolError, match=r"is version 1\.4; 1\.5 or newer is needed"):
        find_program(needed)


def test_failure_tells_code_and_last_words(tmp_path, monkeypatch) -> None:
    program = stand_in(tmp_path, monkeypatch, "echo the index is broken >&2; exit 3")
    expected = r"failed with exit code 3\. Its last words:\n  the index is broken\n"
    with pytest.raises(ToolError, match=expected):
        run_program(program, ["x"], folder=tmp_path)
    with (
        pytest.raises(ToolError, match=expected),
        write_through(program, [], tmp_path / "o") as sink,
    ):
        sink.write(b"x" * 10_000_000)
    with (
        pytest.raises(ToolError, match=expected),
        filter_through(program, [], [b"x" * 10_000_000]) as source,
    ):
        source.read()


def test_filters_in_both_directions(tmp_path, monkeypatch) -> None:
    program = stand_in(tmp_path, monkeypatch, "tr a-z A-Z")
    chunks = (b"line %d\n" % i for i in range(200_000))
    with filter_through(program, [], chunks) as source:
        text = source.read()
    assert text.count(b"LINE") == 200_000


def test_error_of_the_input_comes_first(tmp_path, monkeypatch) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x"
        message = "reads are cut short"
        raise AlignError(message)

    program = stand_in(tmp_path, monkeypatch, "cat; exit 1")
    with (
        pytest.raises(AlignError, match="cut short"),
        filter_through(program, [], chunks()) as source,
    ):
        source.read()


def test_error_of_the_reader_ends_the_program(tmp_path, monkeypatch) -> None:
    program = stand_in(
        tmp_path, monkeypatch, f"exec {sys.executable} -c 'import time; time.sleep(60)'"
    )
    with pytest.raises(ZeroDivisionError), filter_through(program, [], [b"x"]):
        1 / 0  # noqa: B018
