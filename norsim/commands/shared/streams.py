"""Errors of stdout, and errors of files that no other code expects, as errors of norsim with one line."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any, TextIO, cast

import click

from norsim.commands.shared.options import OUTPUT
from norsim.errors import WriteError

# The exit code that a shell shows for a program that SIGPIPE ended: the reader of its output closed the pipe.
PIPE_CLOSED = 141
STDOUT = "stdout"


@contextmanager
def whole_output(context: click.Context) -> Iterator[None]:
    """Raise WriteError if an OSError ends the commands within; it names their folder, if they have opened one.

    A closed pipe ends the program quietly instead.
    """
    try:
        yield
    except BrokenPipeError as problem:
        if problem.filename != STDOUT:
            raise _write_error(problem, _place(context)) from problem
        _silence(sys.stdout)
        sys.exit(PIPE_CLOSED)
    except WriteError as problem:
        place = _place(context)
        if place == "" or str(context.meta[OUTPUT].path) in str(problem):
            raise
        raise WriteError(f"{problem}{place}") from problem
    except OSError as problem:
        raise _write_error(problem, _place(context)) from problem


@contextmanager
def named_stdout() -> Iterator[None]:
    """Let errors of stdout name it, and raise WriteError if it cannot take all that was printed within."""
    stream = sys.stdout
    if stream is None:
        # It was closed from the start; nothing is printed.
        yield
        return
    _print_any_text(stream)
    sys.stdout = cast(TextIO, _Named(stream))
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(stream)
        sys.exit(PIPE_CLOSED)
    except OSError as problem:
        _silence(stream)
        raise _write_error(problem) from problem
    finally:
        sys.stdout = stream


def _print_any_text(stream: TextIO) -> None:
    """Let a stream print "?" for characters that its encoding lacks, and names of files that are no text unchanged."""
    if isinstance(stream, TextIOWrapper):
        whole = codecs.lookup(stream.encoding).name == "utf-8"
        stream.reconfigure(errors="surrogateescape" if whole else "replace")


def write_to_stderr(text: str) -> None:
    """Print a line on stderr, if it can be written."""
    try:
        click.echo(text, err=True)
        sys.stderr.flush()
    except (OSError, AttributeError):
        _silence(sys.stderr)


def _place(context: click.Context) -> str:
    """Return the end of an error that names the folder of the command's results; an empty text if it opened none."""
    place = context.meta.get(OUTPUT)
    return "" if place is None else f"; the folder of the results is {place.path}"


class _Named:
    """A text stream whose errors have its name as their file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with _naming():
            return self._stream.write(text)

    def flush(self) -> None:
        with _naming():
            self._stream.flush()


@contextmanager
def _naming() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise type(problem)(problem.errno, problem.strerror, STDOUT) from None


def _write_error(problem: OSError, where: str = "") -> WriteError:
    reason = problem.strerror or str(problem)
    if problem.filename == STDOUT:
        _silence(sys.stdout)
        return WriteError(f"stdout cannot be written: {reason}{where}")
    return WriteError(f"{problem.filename or 'a file'} cannot be used: {reason}{where}")


def _silence(stream: TextIO | None) -> None:
    """Send what is left in a stream to nowhere, so that the interpreter does not try again when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)
