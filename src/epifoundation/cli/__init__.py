"""The same functions for one's own data: `epifoundation <command> --help`."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from threadpoolctl import threadpool_limits

from epifoundation import __version__
from epifoundation.cli import data, labels, model, outs, quality, scores
from epifoundation.cli.arguments import Arguments, check_outputs, positive
from epifoundation.errors import EpiFoundationError, told_by_system

EXIT_ERROR = 2
EXIT_STOPPED = 130  # as shells name a command ended by Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it is done, 2 with one line on stderr when it cannot be done."""
    parsed = build_parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    threadpool_limits(parsed.threads)
    try:
        check_outputs(parsed)
        parsed.run(parsed)
    except EpiFoundationError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_ERROR
    except OSError as error:
        line = told_by_system(error)
        if line is None:
            raise
        sys.stderr.write(f"error: {line}\n")
        return EXIT_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing is half-written\n")
        return EXIT_STOPPED
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="epifoundation", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Arguments], None], example: str) -> argparse.ArgumentParser:
        summary = (run.__doc__ or "").splitlines()[0]
        command = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: epifoundation {name} {example}",
        )
        command.add_argument("--threads", type=positive, default=1, help="threads (default 1)")
        command.set_defaults(run=run)
        return command

    data.add_commands(add)
    quality.add_commands(add)
    labels.add_commands(add)
    model.add_commands(add)
    scores.add_commands(add)
    outs.add_commands(add)
    return parser
