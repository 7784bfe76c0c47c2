"""Proposed bits: energies against those of an evaluation, sensitivities, and what verifies them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import norsim
from norsim.array.tile import Currents
from norsim.chip.load import load_chip
from norsim.data import Dataset, Samples
from norsim.data.inputs.choice import Choice
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.mixed_precision.options import choices_of
from norsim.evaluation.mixed_precision.proposal import (
    Budget,
    Proposal,
    best_uniform,
    divided,
    propose,
    read_parts,
    text_of,
)
from norsim.evaluation.mixed_precision.sensitivity import divergence, measure, scores_of
from norsim.quantization.by_layer.bits import Bits, read_bits
from norsim.quantization.quantize import observe, quantize


class Net(nn.Module):
    """A convolution and two linear layers, the first of which has weights that need many bits: large ones, which take
    the range, and the small ones that decide."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fine, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(144, 12), nn.Linear(12, 5)
        with torch.no_grad():
            self.fine.weight[:, 0] = 1.0
            self.head.weight *= 30

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(torch.relu(self.fine(torch.relu(self.conv(x)).flatten(1))))
        return found


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return Net().eval()


@pytest.fixture(scope="module")
def data(network: nn.Module) -> Dataset:
    """Return images whose labels are the classes of the network, so that it is right about each."""
    pixels = np.random.default_rng(0).integers(0, 17, (900, 1, 6, 6)).astype(np.uint8)
    with torch.no_grad():
        labels = network(torch.from_numpy(pixels).float() / 16).argmax(1).numpy()
    return Dataset("noise", "train", pixels, labels, tuple("abcde"), 16, "drawn")


def parts_of(data: Dataset | Samples, choose: int, verify: int) -> dict[str, Dataset | Samples]:
    return read_parts(lambda wanted: data.chosen(wanted(len(data))), choose, verify)


@pytest.fixture(scope="module")
def found(network: nn.Module, data: Dataset) -> Proposal:
    return propose(network, parts_of(data, 150, 200), load_chip("etox65"), Budget(energy=0.4))


def test_energies_are_those_of_an_evaluation(
    network: nn.Module, data: Dataset, register: Callable[..., str], switched: Callable[..., Currents]
) -> None:
    bits = {"conv": Bits(3, 5), "fine": Bits(8, 2), "head": Bits(6, 7)}
    images = torch.from_numpy(data.images[:12]).float() / 16
    layers = ("layers.fine.adc.bits=6", "layers.fine.tile.rows_used=100", "layers.conv.tile.rows_used=5")
    chip = load_chip("etox65", (*layers, "calibration.reads=8", "adc.shared_by=2"))
    mixed = quantize(network, [images], bits={name: str(own) for name, own in bits.items()})
    analog = norsim.convert(mixed, chip)
    backend = register(switched)
    norsim.calibrate(analog, images, backend)
    labelled = images, torch.from_numpy(data.labels[:12])
    result = norsim.evaluate(analog, labelled, backend, spice_sample=0, proof_images=0)
    choices = choices_of(quantize(network, [images], bits=8), chip, images[:3])
    for row in result.layers:
        energy = choices[row["name"]].energy(bits[row["name"]])
        assert row["converters_joules_image"] == pytest.approx(energy, rel=1e-12)


@pytest.mark.parametrize(
    ("settings", "weights", "activations"),
    [
        ((), (8, 4), (8, 7, 6, 5, 4, 3, 2)),
        (("mapping.cell_bits=3",), (8, 6, 3), (8, 7, 6, 5, 4, 3, 2)),
        # A read takes as many conversions, whatever the number of slots; a drain DAC has its width anyway.
        (("encoding=pulse-width",), (8, 4), (8,)),
        (("encoding=linear-pair",), (8, 4), (4,)),
    ],
)
def test_only_widths_that_save_conversions_are_tried(
    network: nn.Module, settings: tuple[str, ...], weights: tuple[int, ...], activations: tuple[int, ...]
) -> None:
    images = torch.rand(8, 1, 6, 6)
    choices = choices_of(quantize(network, [images], bits=8), load_chip("etox65", settings), images[:1])
    assert {(own.weights, own.activations) for own in choices.values()} == {(weights, activations)}


def test_divergences_are_those_of_the_definition() -> None:
    p, q = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.25, 0.25, 0.5]])
    assert divergence(p.log() + 3, q.log() - 1) == pytest.approx(0.25 * np.log(2))
    assert divergence(p, p) == 0


def test_a_network_without_scores_has_no_sensitivities(network: nn.Module) -> None:
    with pytest.raises(DataError, match="returns no scores"):
        scores_of(nn.Conv2d(1, 2, 3), torch.rand(2, 1, 6, 6))


def test_the_layer_with_fine_weights_is_the_most_sensitive(network: nn.Module, found: Proposal) -> None:
    four = {name: own.weights[4] for name, own in found.sensitivities.items()}
    assert four["fine"] > 3 * max(four["conv"], four["head"]) > 0
    assert found.proposed.bits["fine"].weights == 8
    for own in found.sensitivities.values():
        for losses in (own.weights, own.activations):
            assert losses[8] == 0 if 8 in losses else True
            assert list(losses.values()) == sorted(losses.values())


def test_sensitivities_are_those_of_networks_quantized_one_by_one(network: nn.Module, data: Dataset) -> None:
    images = torch.from_numpy(data.images[:60]).float() / 16
    seen = observe(network, [images])
    choices = choices_of(seen.quantized(seen.widths(8)), load_chip("etox65"), images[:1])
    loss = measure(seen, choices)["fine"].loss(Bits(4, 8))
    exact = scores_of(network, images)
    wide, narrow = (
        divergence(exact, scores_of(quantize(network, [images], bits=bits), images)) for bits in (8, "fine=4/8,*=8")
    )
    assert loss == pytest.approx(narrow - wide, rel=1e-4)


def test_the_proposal_is_verified_on_images_of_its_own(network: nn.Module, data: Dataset, found: Proposal) -> None:
    assert found.images == {"calibrate": 512, "choose": 150, "verify": 200}
    parts = divided(len(data), 150, 200, seed=0)
    assert len(np.unique(np.concatenate(list(parts.values())))) == 862
    assert found.accuracy_float == 1 and found.proposed.share <= 0.4
    # Its accuracy is that of the network which the same bits give elsewhere.
    check = torch.from_numpy(data.images[parts["verify"]]).float() / 16
    calibration = torch.from_numpy(data.images[parts["calibrate"]]).float() / 16
    again = quantize(network, torch.split(calibration, 128), bits=text_of(found.proposed.bits))
    right = scores_of(again, check).argmax(1).numpy() == data.labels[parts["verify"]]
    assert found.proposed.accuracy == right.mean()
    low, high = found.proposed.loss.ci95
    assert low <= 100 * (found.accuracy_widest - found.proposed.accuracy) <= high
    assert found.uniform is not None and found.uniform.share <= found.proposed.share
    assert found.against_uniform is not None and found.proposed.accuracy > found.uniform.accuracy


class Two(nn.Module):
    """The network `Net` for the two halves of an image, its scores in a dict."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, low: torch.Tensor, high: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"scores": self.net(torch.cat([low, high], 2))}


def test_a_network_of_several_inputs_gets_the_same_proposal(network: nn.Module, data: Dataset, found: Proposal) -> None:
    pixels = data.images.astype(np.float32) / 16
    inputs = {"low": pixels[:, :, :2], "high": pixels[:, :, 2:]}
    samples = Samples("halves", "train", inputs, data.labels, "drawn", np.zeros(len(data), np.uint32), len(data))
    again = propose(Two(network), parts_of(samples, 150, 200), load_chip("etox65"), Budget(energy=0.4))
    assert {f"net.{name}": bits for name, bits in found.proposed.bits.items()} == again.proposed.bits
    assert again.proposed.accuracy == found.proposed.accuracy


def test_only_the_samples_of_a_proposal_are_read(data: Dataset) -> None:
    read = []

    def load(wanted: Choice) -> Dataset:
        read.append(wanted(len(data)))
        return data.chosen(read[-1])

    parts = read_parts(load, 30, 40)
    assert len(read) == 1 and len(read[0]) == 512 + 30 + 40
    for name, places in divided(len(data), 30, 40, 0).items():
        np.testing.assert_array_equal(parts[name].images, data.images[places])


def test_a_loss_is_a_budget_too(network: nn.Module, data: Dataset) -> None:
    chip, limits = load_chip("etox65"), (2.0, 100.0)
    shares = [propose(network, parts_of(data, 150, 100), chip, Budget(points=most)).proposed.share for most in limits]
    assert 1 > shares[0] > shares[1]
    # With any loss allowed it is the least energy: two bits of activations, one slice of weights.
    assert shares[1] == pytest.approx(4 / 8 * 1 / 4)


def test_uniform_bits_are_the_widest_that_fit(network: nn.Module) -> None:
    images = torch.rand(8, 1, 6, 6)
    choices = choices_of(quantize(network, [images], bits=8), load_chip("etox65"), images[:1])
    whole, tried = sum(own.energy(Bits(8, 8)) for own in choices.values()), []

    class Counting:
        labels = np.array([0])

        def classes(self, bits: dict[str, Bits]) -> np.ndarray:
            tried.append(str(bits["conv"]))
            return np.array([0 if bits["conv"] == Bits(4, 6) else 1])

    best = best_uniform(choices, 0.375 * whole, Counting())  # type: ignore[arg-type]
    assert tried == ["8/3", "4/6"] and best == dict.fromkeys(choices, Bits(4, 6))
    assert best_uniform(choices, 0.01 * whole, Counting()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(), "needs one budget"),
        (lambda: Budget(0.3, 0.7), "needs one budget"),
        (lambda: Budget(points=-1), "largest loss is -1"),
        (lambda: Budget(energy=0), "share of energy is 0"),
        (lambda: divided(300, 50, 50, 0), "300 training images are too few: 300 of them calibrate"),
    ],
)
def test_budgets_and_data_that_allow_no_search_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_a_budget_below_the_least_energy_is_refused(network: nn.Module, data: Dataset) -> None:
    with pytest.raises(ConfigurationError, match="no bits take so little energy; the least is 0.125"):
        propose(network, parts_of(data, 20, 20), load_chip("etox65"), Budget(energy=0.1))


def test_texts_name_the_layers_that_differ_from_most() -> None:
    bits = {"a.0": Bits(8, 8), "a.1": Bits(4, 6), "b": Bits(4, 6)}
    assert text_of(bits) == "a.0=8/8,*=4/6" and read_bits(text_of(bits)).of(list(bits)) == bits
    assert text_of(dict.fromkeys("ab", Bits(8, 8))) == "8/8"
    odd = {"x[0]": Bits(2, 2), "y": Bits(3, 3), "z": Bits(3, 3)}
    assert read_bits(text_of(odd)).of(list(odd)) == odd
