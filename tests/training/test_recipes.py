"""Recipes: errors for invalid values, and the recipe of each network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from norsim.errors import ConfigurationError
from norsim.training.recipes import RECIPES
from norsim.zoo.registry import NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_recipe_for_4_bits(name: str) -> None:
    assert RECIPES[name].bits == "4/4"


@pytest.mark.parametrize(
    "change",
    [
        {"augmentation": "spin"},
        {"precision": "float8"},
        {"ema_decay": 1.5},
        {"batch_size": 0},
        {"float_rate": -1.0},
        {"temperature": 0.0},
    ],
)
def test_recipe_refuses_invalid_values(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(change))):
        replace(RECIPES["digits-cnn"], **change)
