"""The command group, and how errors become one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

_COMMANDS = {
    "analyse": "Repeat the paper's experiments on a model and real pairs.",
    "ccp": "Tell how cloudy scenes are, and where.",
    "dataset": "Make sets of training and test pairs.",
    "declouds": "Remove the clouds of a scene.",
    "evaluate": "Measure models on real pairs of a cloudy and a clear image.",
    "models": "List, inspect and import models, and count what networks cost.",
    "pansharpen": "Fuse a panchromatic and a multispectral image.",
    "plan": "Show what `declouds` would do, and how long it would take.",
    "train": "Train models on your own images, clear or in pairs.",
}

_RESUMED = ("dataset", "declouds", "train")
"""Commands that keep what they have done."""


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for: `decr --help` needs no torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f".{cmd_name}", __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))

    def main(self, *args: Any, **options: Any) -> Any:
        """Run all; one line where a library is missing, or the system refuses (a full disk)."""
        try:
            return super().main(*args, **options)
        except ImportError as error:
            click.echo(
                f"decr: a library cannot be loaded ({error}); install decr again, or allow 6 GB "
                "where `ulimit -v` limits addresses: libraries take far more than they use",
                err=True,
            )
            sys.exit(1)
        except OSError as error:
            if error.errno is None:
                raise
            click.echo(f"decr: {_refused(error)}", err=True)
            _drop_unprinted()
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a mendable error becomes one line and exit code 1."""
        from decr.errors import DecrError, one_line
        from decr.pipeline.memory import share_heap

        share_heap()
        try:
            with _warnings_once():
                return super().invoke(ctx)
        except DecrError as error:
            click.echo(f"decr: {one_line(error)}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            done = "go on" if ctx.invoked_subcommand in _RESUMED else "begin again"
            click.echo(f"decr: interrupted; run the same command again to {done}", err=True)
            sys.exit(130)


def _refused(error: OSError) -> str:
    """What the system said no to; the error of standard output names no file."""
    name = error.filename or "standard output, or a file being written"
    return f"{name}: {error.strerror}; mend that and run the same command again"


def _drop_unprinted() -> None:
    """Let go what standard output does not take: Python would try again as it ends, and say so."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_NAMED = 5
"""Files that are named to which a warning applies, too."""


@contextmanager
def _warnings_once() -> Iterator[None]:
    """Print decr's own warnings as lines; libraries' are not for the user.

    Those equal but for the file that they begin with are told of the first; at the end, of which
    others they hold.
    """
    from decr.errors import DecrWarning, one_line

    told: dict[str, list[str]] = {}

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if not issubclass(category, DecrWarning):
            return
        line = one_line(message)
        name, _colon, said = line.partition(": ")
        alike = told.setdefault(said or line, [])
        if not alike:
            click.echo(f"decr: warning: {line}", err=True)
        if name not in alike:
            alike.append(name)

    warnings.showwarning = show
    try:
        yield
    finally:
        for said, (_first, *others) in told.items():
            if others:
                named = ", ".join(others[:_NAMED])
                more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
                click.echo(f"decr: warning: the same of {named}{more}: {said}", err=True)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="decr", message="decr %(version)s")
def main() -> None:
    """Remove clouds from very large, very high resolution satellite scenes.

    \b
    Examples:
      decr declouds scene.tif -o clear.tif
      decr plan scene.tif
      decr ccp scene.tif
      decr models list
    """
