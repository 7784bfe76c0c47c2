"""What a user says about the range of activations that codes cover: that of least squared error, or up to a percentile.

Rare large activations can widen the steps of all others. A grid with least squared error clips them where that costs
less than it gains; a percentile clips a fixed share of all values (Wu et al., "Integer Quantization for Deep Learning
Inference: Principles and Empirical Evaluation", 2020, section 4.2). Without torch.
"""

from __future__ import annotations

from contextlib import suppress

from norsim.errors import ConfigurationError

MSE, LEAST_PERCENT = "mse", 50.0


def read_range(given: str | float) -> float | None:
    """Return the percentile that `given` states, as a number or its text, above 50 and at most 100; None for `mse`.

    Raises ConfigurationError for anything else.
    """
    if given == MSE:
        return None
    percent = 0.0
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        with suppress(ValueError):
            percent = float(given)
    if not LEAST_PERCENT < percent <= 100:
        raise ConfigurationError(
            f"the range of activations is {given!r}; expected {MSE!r}, or a percentile above {LEAST_PERCENT:g} and at "
            "most 100, such as 99.9"
        )
    return percent
