"""`import norsim` costs next to nothing: what is slow to import comes with the first name that is used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import norsim
from norsim import api

ROOT = Path(__file__).resolve().parents[2]
# The time of a user's process is taken before and after, and the interpreter's own start is left out.
IMPORT = """
import json, sys, time
before, started = set(sys.modules), time.process_time()
import norsim
seconds = time.process_time() - started
print(json.dumps([seconds, sorted({name.partition(".")[0] for name in set(sys.modules) - before})]))
"""


def test_the_import_is_quick_and_loads_no_other_package() -> None:
    ended = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, cwd=ROOT, check=True)
    seconds, modules = json.loads(ended.stdout)
    assert seconds < 0.2
    assert "norsim" in modules and not {"torch", "numpy", "scipy", "pydantic", "yaml"} & set(modules)


def test_every_exported_name_is_there_and_sorted() -> None:
    assert list(api.__all__) == sorted(api.__all__) and len(set(api.__all__)) == len(api.__all__)
    for name in api.__all__:
        assert getattr(norsim, name) is getattr(api, name)


@pytest.mark.parametrize("name", ["deplay", "os", "_hidden", "__path_hooks__"])
def test_other_names_are_attribute_errors(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'norsim' has no attribute '{name}'"):
        getattr(norsim, name)
    assert not hasattr(norsim, name)
