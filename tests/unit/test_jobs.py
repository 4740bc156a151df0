"""How a job ends, for its log, its caller and a reader."""

import logging
from pathlib import Path

import pytest

from epifoundation.errors import DataError
from epifoundation.jobs import job


@pytest.fixture(autouse=True)
def root_logger():
    """Let the job configure logging as in a process of its own, and put it back."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    logging.captureWarnings(capture=False)
    root.setLevel(level)
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers


def test_a_users_mistake_is_one_line_and_an_exit_code(tmp_path, capsys):
    log = tmp_path / "job.log"
    with pytest.raises(SystemExit) as end, job(log=str(log)):
        message = "f.tsv.gz: 3 of 9 lines have no barcode. Remake the file."
        raise DataError(message)
    assert end.value.code == 1
    assert capsys.readouterr().err == f"error: {message}\n"
    assert message in log.read_text()
    assert "Traceback" not in log.read_text()


def test_our_mistake_leaves_a_traceback_in_the_log(tmp_path, capsys):
    log = tmp_path / "job.log"
    with pytest.raises(SystemExit) as end, job(log=str(log)):
        _ = 1 / 0
    assert end.value.code == 1
    assert "ZeroDivisionError" in log.read_text()
    assert str(log) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ((), "interrupted: nothing is half-written; the same command starts this step again\n"),
        (("all is saved in F",), "interrupted: all is saved in F\n"),
    ],
)
def test_an_interrupt_is_one_line_and_the_exit_code_of_shells(tmp_path, capsys, told, line):
    log = tmp_path / "job.log"
    with pytest.raises(SystemExit) as end, job(log=str(log)):
        raise KeyboardInterrupt(*told)
    assert end.value.code == 130
    assert capsys.readouterr().err == line
    assert line in log.read_text()


def test_what_the_system_says_is_one_line(tmp_path, capsys):
    log = tmp_path / "job.log"
    with pytest.raises(SystemExit), job(log=str(log)), Path("/dev/full").open("w") as full:
        full.write("counts")
    line = capsys.readouterr().err
    assert "No space left on device. Free space" in line
    assert len(line.splitlines()) == 1
    assert "Traceback" in log.read_text()
