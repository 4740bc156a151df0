"""Start one process per device, hand each the run, and take back what the first one learned."""

import json
import logging
import mmap
import os
import pickle
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import distributed
from torch.multiprocessing.spawn import (
    ProcessContext,
    ProcessExitedException,
    ProcessRaisedException,
    start_processes,
)

from epifoundation.errors import EpiFoundationError, ModelError
from epifoundation.jobs import join_log, log_file
from epifoundation.training.distributed import World, join
from epifoundation.training.run import Run, Trained
from epifoundation.training.signals import end, heard, interrupts_ignored

logger = logging.getLogger(__name__)

Task = Callable[[World, Run], Trained]
RUN, MEETING, HISTORY, WEIGHTS, REFUSAL = "run", "meeting", "history", "weights", "refusal"


def spawn(task: Task, run: Run, devices: list[torch.device]) -> Trained:
    """Run `task` in a process per device, and return what the first one does.

    A signal to stop is handed on to all of them. Where one refuses, so does this process, with the
    same words; where one is killed, the others are ended too.
    """
    with tempfile.TemporaryDirectory(prefix="epifoundation-") as name:
        folder = Path(name)
        with (folder / RUN).open("wb") as handle:
            _Parcel(handle).dump((task, run))
        arguments = (folder, devices, torch.get_num_threads(), log_file())
        processes: list[int] = []
        asked: list[int] = []

        def ask(number: int) -> None:
            asked.append(number)
            hand_on(processes)

        with heard(ask):
            with interrupts_ignored():
                context = start_processes(  # type: ignore[no-untyped-call]
                    _work, arguments, nprocs=len(devices), join=False
                )
            assert context is not None
            processes += context.pids()
            if asked:  # while they were started
                hand_on(processes)
            _wait(context, folder, asked)
        _refuse(folder)
        if not (folder / HISTORY).exists():
            kept = "" if run.folder is None else f": what was saved is in {run.folder}, and"
            end(asked, f"asked to stop{kept} the same command goes on from there")
        return Trained(json.loads((folder / HISTORY).read_text()), load_file(folder / WEIGHTS))


def hand_on(processes: list[int], number: int = signal.SIGTERM) -> None:
    """Ask each process that is still there to stop."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _wait(context: ProcessContext, folder: Path, asked: list[int]) -> None:
    """Wait until all processes have ended; end them all where one fails, and say which."""
    try:
        while not context.join():
            pass
    except KeyboardInterrupt:  # a second Ctrl-C
        hand_on([process.pid for process in context.processes], signal.SIGKILL)
        for process in context.processes:
            process.join()
        raise
    except (ProcessExitedException, ProcessRaisedException) as error:
        _refuse(folder)
        codes = [process.exitcode or 0 for process in context.processes]
        if asked and getattr(error, "signal_name", None) == signal.SIGTERM.name:
            end(asked, "asked to stop while the processes started; nothing new to save")
        # The others are ended by SIGTERM, or notice that their peer is gone.
        killed = [code for code in codes if code < 0 and code != -signal.SIGTERM]
        if isinstance(error, ProcessRaisedException):
            if not killed:
                raise
            # One that waits for its peer on a GPU hears no SIGTERM and is killed in the end.
            logger.error("process %d failed: %s", error.error_index, error)
        code = killed[0] if killed else codes[error.error_index]
        index = codes.index(code)
        how = signal.Signals(-code).name if code < 0 else f"code {code}"
        message = (
            f"process {index} of {len(codes)} ended without a word ({how}); the last checkpoint is"
            " kept, and the next run goes on from there. SIGKILL often means that the machine's"
            " memory was full; what another process said before is in the log."
        )
        raise ModelError(message) from error


def _work(
    rank: int, folder: Path, devices: list[torch.device], n_threads: int, log: str | None
) -> None:
    torch.set_num_threads(max(1, n_threads // len(devices)))
    if rank == 0:
        join_log(log)
    with (folder / RUN).open("rb") as handle:
        task, run = pickle.load(handle)
    try:
        world = join(f"file://{folder / MEETING}", rank, len(devices), devices[rank])
        trained = task(world, run)
        if world.is_first:
            save_file(trained.weights, folder / WEIGHTS)
            (folder / HISTORY).write_text(json.dumps(trained.history))
        distributed.destroy_process_group()
    except EpiFoundationError as error:
        (folder / f"{REFUSAL}-{rank}").write_text(str(error))
        raise SystemExit(1) from error


def _refuse(folder: Path) -> None:
    for path in sorted(folder.glob(f"{REFUSAL}-*")):
        raise ModelError(path.read_text())


class _Parcel(pickle.Pickler):
    """Passes memory maps on as the files they are of, so that no process copies the data."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.memmap) and isinstance(value.base, mmap.mmap):
            return np.memmap, (value.filename, value.dtype, "r", value.offset, value.shape)
        whole = value.base if type(value) is np.ndarray else None  # an array of a token store
        if isinstance(whole, np.memmap) and whole.shape == value.shape:
            return np.asarray, (whole,)
        return NotImplemented
