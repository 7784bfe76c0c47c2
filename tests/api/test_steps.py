"""The single steps of deploy: quantize, convert, program, calibrate, evaluate, and a converted network when called."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import norsim
from tests.api.conftest import Split


@pytest.fixture(scope="module")
def quantized(model: nn.Module, train_set: Split) -> nn.Module:
    return norsim.quantize(model, train_set.x)


def test_a_call_reads_the_array_as_an_evaluation_does(quantized: nn.Module, train_set: Split, test_set: Split) -> None:
    """On source lines of 1 kilohm per cell the array is far from the integers, in both."""
    chip = norsim.load_chip("etox65-stress", ("bit_serial.wires.source_line=1 kohm",))
    analog, (x, y) = norsim.convert(quantized, chip), test_set.pair
    norsim.calibrate(analog, [train_set.x])
    with torch.no_grad():
        logits, integers = analog(x), quantized(x)
    result = norsim.evaluate(analog, (x, y))
    assert np.array_equal(result.predictions, logits.argmax(1))
    assert np.array_equal(result.predictions_quantized, integers.argmax(1))
    assert result.accuracy == float((logits.argmax(1) == y).double().mean()) < result.accuracy_quantized - 0.1
    assert float((logits - integers).abs().max()) > 0.2 * float(integers.abs().max())
    # The readers are those that calibrate chose, also after an evaluation by another backend.
    assert norsim.evaluate(analog, (x[:5], y[:5]), "ideal").accuracy_quantized == float(
        (integers[:5].argmax(1) == y[:5]).double().mean()
    )
    with torch.no_grad():
        assert torch.equal(analog(x), logits)


def test_calibrate_chooses_the_backend_of_calls(quantized: nn.Module, train_set: Split, test_set: Split) -> None:
    analog, x = norsim.convert(quantized, norsim.load_chip("etox65")), test_set.x[:4]
    norsim.calibrate(analog, train_set.data, "nodal")
    found = norsim.evaluate(analog, [(x, test_set.y[:4])], "nodal", metric=lambda outputs, _: float(outputs.sum()))
    assert torch.equal(analog(x), found.predictions)
    norsim.program(analog, "ideal")
    assert torch.equal(analog(x), found.predictions_quantized)


def test_an_unconverted_network_is_not_evaluated(quantized: nn.Module, model: nn.Module, test_set: Split) -> None:
    for network in (quantized, model):
        with pytest.raises(norsim.ConfigurationError, match="no layers on the array: norsim.deploy"):
            norsim.evaluate(network, test_set.pair)
