"""Documents show the same runs again and again, so their tests share finished work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def few_images_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the end-to-end proof take as many images as the bounds in the documents need."""
    for bound in ("LEAST_IMAGES", "MOST_IMAGES"):
        monkeypatch.setattr(f"norsim.evaluation.end_to_end.{bound}", 60)


@pytest.fixture(autouse=True)
def shared_units(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the commands of all documents share finished work, in all processes of this run of the tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "units-of-documents"
    for user in ("norsim.experiments.run_folder", "norsim.commands.run.runs"):
        monkeypatch.setattr(f"{user}.shared_units", lambda: folder)
    return folder
