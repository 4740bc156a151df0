"""Start one process per device, hand each the run, and take back what the first one learned."""

import json
import logging
import mmap
import os
import pickle
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import distributed
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from epifoundation.errors import EpiFoundationError, ModelError
from epifoundation.training.checkpoint import put_weights, weights_of
from epifoundation.training.distributed import World, join
from epifoundation.training.run import History, Run
from epifoundation.training.signals import ASKING, heard

logger = logging.getLogger(__name__)

Task = Callable[[World, Run], History]
RUN, MEETING, HISTORY, WEIGHTS, REFUSAL = "run", "meeting", "history", "weights", "refusal"


def spawn(task: Task, run: Run, devices: list[torch.device]) -> History:
    """Run `task` in a process per device; its weights end up in the network of `run`.

    A signal to stop is handed on to all of them. Where one refuses, so does this process, with the
    same words; where one is killed, the others are ended too.
    """
    with tempfile.TemporaryDirectory(prefix="epifoundation-") as name:
        folder = Path(name)
        with (folder / RUN).open("wb") as handle:
            _Parcel(handle).dump((task, run))
        arguments = (folder, devices, torch.get_num_threads(), _log_file())
        processes: list[int] = []
        asked: list[int] = []

        def ask(number: int) -> None:
            asked.append(number)
            hand_on(processes, number)

        try:
            with heard(ask):
                context = start_processes(  # type: ignore[no-untyped-call]
                    _work, arguments, nprocs=len(devices), join=False
                )
                assert context is not None
                processes += context.pids()
                for number in asked:  # while they were started
                    hand_on(processes, number)
                while not context.join():
                    pass
        except ProcessExitedException as error:
            _refuse(folder)
            if asked and error.signal_name in {asking.name for asking in ASKING}:
                logger.info("asked to stop while the processes started; nothing new to save")
                raise SystemExit(0) from error
            message = (
                f"process {error.error_index} of {len(devices)} ended without a word"
                f" ({error.signal_name or f'code {error.exit_code}'}); the last checkpoint is kept,"
                " and the next run goes on from there. SIGKILL often means that the machine's"
                " memory was full."
            )
            raise ModelError(message) from error
        _refuse(folder)
        if not (folder / HISTORY).exists():
            raise SystemExit(0)  # asked to stop
        put_weights(run.network.to("cpu"), load_file(folder / WEIGHTS))
        history: History = json.loads((folder / HISTORY).read_text())
        return history


def hand_on(processes: list[int], number: int) -> None:
    """Send a signal to each process that is still there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _work(
    rank: int, folder: Path, devices: list[torch.device], n_threads: int, log: str | None
) -> None:
    torch.set_num_threads(max(1, n_threads // len(devices)))
    if rank == 0 and log is not None:
        logging.basicConfig(
            filename=log,
            level=logging.INFO,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
    with (folder / RUN).open("rb") as handle:
        task, run = pickle.load(handle)
    try:
        world = join(f"file://{folder / MEETING}", rank, len(devices), devices[rank])
        history = task(world, run)
        weights = weights_of(run.network)
        if world.is_first:
            save_file(weights, folder / WEIGHTS)
            (folder / HISTORY).write_text(json.dumps(history))
        distributed.destroy_process_group()
    except EpiFoundationError as error:
        (folder / f"{REFUSAL}-{rank}").write_text(str(error))
        raise SystemExit(1) from error


def _refuse(folder: Path) -> None:
    for path in sorted(folder.glob(f"{REFUSAL}-*")):
        raise ModelError(path.read_text())


def _log_file() -> str | None:
    handlers = logging.getLogger().handlers
    files = [handler for handler in handlers if isinstance(handler, logging.FileHandler)]
    return files[0].baseFilename if files else None


class _Parcel(pickle.Pickler):
    """Passes memory maps on as the files they are of, so that no process copies the data."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.memmap) and isinstance(value.base, mmap.mmap):
            return np.memmap, (value.filename, value.dtype, "r", value.offset, value.shape)
        return NotImplemented
