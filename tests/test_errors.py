"""Suggestions in errors about unknown names."""

from __future__ import annotations

import pytest

from norsim.errors import suggestion

KNOWN = ("digits", "CIFAR10", "resnet18", "resnet20")


@pytest.mark.parametrize(
    ("name", "closest"),
    [("digit", "digits"), ("cifar-10", "CIFAR10"), ("DIGITS", "digits"), ("resnet-20", "resnet20")],
)
def test_the_closest_name_comes_first(name: str, closest: str) -> None:
    assert suggestion(name, KNOWN) == f"did you mean {closest!r}? Known: digits, CIFAR10, resnet18, resnet20"


@pytest.mark.parametrize("name", ["", "xyz", "digits-of-another-kind"])
def test_without_a_close_name_all_are_listed(name: str) -> None:
    assert suggestion(name, iter(KNOWN)) == "known: digits, CIFAR10, resnet18, resnet20"


def test_without_names_there_is_no_suggestion() -> None:
    assert suggestion("x", ()) == "known: none"
