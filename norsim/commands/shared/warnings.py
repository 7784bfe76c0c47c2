"""Warnings of the simulator about the cell, on stderr, each once in a command."""

from __future__ import annotations

import logging

import click

from norsim.spice.simulators.messages import LOG, ONCE


class OnStderr(logging.Handler):
    """Prints records on the stderr of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the text of a record."""
        click.echo(f"norsim: {record.getMessage()}", err=True)


HANDLER = OnStderr()


def show_warnings() -> None:
    """Print the simulator's warnings from now on, also those that an earlier command in this process has printed."""
    ONCE.said.clear()
    LOG.addHandler(HANDLER)
