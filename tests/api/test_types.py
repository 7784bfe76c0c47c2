"""The exported names have types that hold for a user: mypy reads calls of each of them strictly."""

from __future__ import annotations

import ast
from importlib.resources import files
from pathlib import Path

from norsim import api

CALLS = Path(__file__).with_name("user_calls.py")


def test_every_exported_name_is_in_the_typed_calls() -> None:
    used = {
        node.attr
        for node in ast.walk(ast.parse(CALLS.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "norsim"
    }
    assert used >= set(api.__all__)


def test_the_package_says_that_it_is_typed() -> None:
    assert (files("norsim") / "py.typed").is_file()
