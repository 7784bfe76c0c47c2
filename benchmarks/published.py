"""Published macros of NOR flash and SONOS, as far as chip files and layers of random weights describe them.

Predictions were made before parameters were changed, and none was fitted. What a source does not state is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from norsim.validation.energy import Layers

PROCESS, SUPPLY, SCHEME = "cost.circuits.feature", "cost.circuits.supply", "mapping.scheme"


@dataclass(frozen=True)
class Macro:
    """A published macro, and how norsim describes it.

    `published`, `source`   what is published, and where
    `femtojoules`   per operation, two of which are a multiply-accumulate
    `layers`, `weight_bits`, `activation_bits`   sizes of the layers that fill it, from inputs to outputs, and widths
    `active`        share of inputs that are not zero
    `stated`, `assumed`   keys of its chip that follow from the source, and others
    `square_millimetres`  area as published; None if it is not stated, `at_most` if only a bound is
    `left_out`      parts that it does not have, or that the published number does not count
    `hindsight`     whether the prediction was made after another one was seen, so that it does not count as agreement
    """

    name: str
    published: str
    source: str
    femtojoules: float
    layers: tuple[int, ...]
    weight_bits: int
    activation_bits: int
    active: float
    stated: Mapping[str, Any]
    assumed: Mapping[str, Any]
    square_millimetres: float | None = None
    at_most: bool = False
    left_out: tuple[str, ...] = ()
    hindsight: bool = False

    @property
    def network(self) -> Layers:
        """Its layers and their inputs."""
        return Layers(self.layers, self.weight_bits, self.activation_bits, self.active)

    @property
    def operations(self) -> int:
        """Operations of an input vector, two per multiply-accumulate."""
        return self.network.operations


GUO = Macro(
    name="Guo 2017",
    published="784-64-10 perceptron in 180 nm NOR flash, binary inputs, analog neurons: about 20 nJ and less than 1 us "
    "a pattern, measured; all circuits, those for programming too, below 1 mm2",
    source='X. Guo et al., "Fast, energy-efficient, robust, and reproducible mixed-signal neuromorphic classifier '
    'based on embedded NOR flash memory technology", IEDM 2017; arXiv 1610.02091',
    femtojoules=20e6 / (2 * (784 * 64 + 64 * 10)),
    layers=(784, 64, 10),
    weight_bits=4,
    activation_bits=1,
    # The mean of MNIST's pixels.
    active=0.13,
    # Neurons instead of converters; two layers within 1 us.
    stated={
        "tile": {"wordlines": 784, "bitlines": 128}, SCHEME: "differential", PROCESS: "180 nm", "cost.adc_step": "0 J",
        "cost.conversion": "0 s", "cost.sample": "0.5 us", "cost.circuits.converter_area": "0 m2",
    },
    assumed={SUPPLY: "1.8 V"},
    square_millimetres=1.0,
    at_most=True,
    left_out=("digital", "buffers", "transfers"),
)  # fmt: skip
XIAO = Macro(
    name="Xiao 2022",
    published="architecture on 40 nm SONOS, simulated with SPICE: 20 TOPS/W on ResNet-50; 10 ns for each of 8 input "
    "bits, which are added up before one 8-bit ramp at 1 GHz",
    source='T. P. Xiao et al., "An accurate, error-tolerant, and energy-efficient neural network inference engine '
    'based on SONOS analog memory", IEEE Trans. Circuits Syst. I 69 (2022) 1480; details from the later article '
    "that is cited [there](energy.md#beside-a-published-accelerator)",
    femtojoules=1e3 / 20,
    layers=(1024, 128),
    weight_bits=4,
    activation_bits=8,
    active=0.5,
    stated={
        "encoding": "pulse-width", SCHEME: "differential", PROCESS: "40 nm", "cost.sample": f"{80 / 255:.6f} ns",
        "cost.conversion": "256 ns",
    },
    assumed={"tile": {"wordlines": 1024, "bitlines": 256}, "pulse_width.top_level": "1.07 uA", SUPPLY: "1.1 V"},
)  # fmt: skip
BAVANDPOUR = Macro(
    name="Bavandpour 2017",
    published="time-domain multiplier in 55 nm NOR flash, 6-bit digital inputs and outputs, estimated after layout: "
    "about 7 fJ per operation for more than 200 inputs",
    source='M. Bavandpour, M. R. Mahmoodi and D. B. Strukov, "Energy-efficient time-domain vector-by-matrix multiplier '
    'for neurocomputing and beyond", arXiv 1711.10673',
    femtojoules=7.0,
    layers=(256, 128),
    weight_bits=4,
    activation_bits=6,
    active=0.5,
    stated={
        "encoding": "pulse-width", SCHEME: "differential", "adc.bits": 6, PROCESS: "55 nm",
        "tile": {"wordlines": 256, "bitlines": 256},
    },
    assumed={SUPPLY: "1.2 V"},
    left_out=("digital", "buffers", "transfers", "references"),
)  # fmt: skip
MYTHIC = Macro(
    name="Mythic",
    published="40 nm NOR flash, products of 1000 x 1000 within a few microseconds: about 0.5 pJ per "
    "multiply-accumulate with everything on the chip, processors and interfaces included",
    source='WikiChip Fuse, "Analog AI startup Mythic to compute and scale in flash" (2018)',
    femtojoules=250.0,
    layers=(1000, 500),
    weight_bits=4,
    activation_bits=8,
    active=0.5,
    stated={"encoding": "pulse-width", PROCESS: "40 nm", "tile": {"wordlines": 1000, "bitlines": 1000}},
    assumed={SCHEME: "differential", SUPPLY: "1.1 V"},
)
JIN = Macro(
    name="Jin",
    published="55 nm SoC with 8 Mb of NOR flash, 8-bit weights and activations: 0.16 TOPS at 21.4 mW, measured",
    source="Jin et al., on an 8-Mb embedded NOR flash-based compute-in-memory SoC: the abstract",
    femtojoules=1e3 / 7.48,
    layers=(256, 32),
    weight_bits=8,
    activation_bits=8,
    active=0.5,
    stated={PROCESS: "55 nm"},
    assumed={SCHEME: "differential", "tile": {"wordlines": 256, "bitlines": 128}, SUPPLY: "1.2 V"},
)
# The few microseconds taken as three, which the first prediction had overlooked.
SLOWER = Macro(**{
    **vars(MYTHIC), "name": "Mythic, 3 us", "hindsight": True,
    "stated": {**MYTHIC.stated, "cost.sample": f"{3000 / 255:.6f} ns"},
})  # fmt: skip
MACROS = (GUO, XIAO, BAVANDPOUR, MYTHIC, SLOWER, JIN)
