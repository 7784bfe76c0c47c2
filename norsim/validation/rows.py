"""The published measurements, in the order of the page.

Predictions were made with chip files that were written before; none of their keys was changed to meet a number.
"""

from __future__ import annotations

from functools import partial

from norsim.validation import energy, multiplier, statistics
from norsim.validation.energy import Layers
from norsim.validation.row import Row

GUO = (
    'X. Guo et al., "Temperature-insensitive analog vector-by-matrix multiplier based on 55 nm NOR flash memory '
    'cells", CICC 2017, arXiv 1611.03379: the abstract'
)
AGRAWAL = (
    'V. Agrawal et al., "Subthreshold operation of SONOS analog memory to enable accurate low-power neural network '
    'inference", IEDM 2022, 21.7: curves fitted to 128k cells, at a target of 400 nA'
)
XIAO = (
    'T. P. Xiao et al., "An accurate, error-tolerant, and energy-efficient neural network inference engine based on '
    'SONOS analog memory", IEEE Trans. Circuits Syst. I 69 (2022) 1480: the abstract'
)
ZENG = (
    'S. Zeng et al., "MLFlash-CIM: Embedded multi-level NOR-flash cell based computing in memory architecture for edge '
    'AI devices", AICAS 2021, and Y. Zhang et al., ISCAS 2021, DOI 10.1109/ISCAS51556.2021.9401600: the abstracts'
)
JIN = "Jin et al., on an 8-Mb embedded NOR flash-based compute-in-memory SoC: the abstract"
INPUT = "it is an input of norsim: the law of the source is in the chip file, so this shows only that a cell follows it"
XIAO_LAYERS, ZENG_LAYERS, JIN_LAYERS = (
    Layers((1024, 128), 4, 8, 0.5), Layers((1024, 128), 4, 4, 0.5), Layers((256, 32), 8, 8, 0.5)
)  # fmt: skip
# Of the number of a macro alone, which feeds it and takes its outputs.
OUTSIDE = ("digital", "buffers", "transfers", "references")

ROWS = (
    Row(
        "guo-tuning", "tuning of the cells of a 55 nm NOR array, 10 x 12: better than 1 % of the current", GUO, 1.0,
        "%", "published/guo-2017",
        "`silicon.pulses` predicts it from the pulses. Missing for a prediction: those of the source, with their step, "
        "what one does to a cell, and the noise of a verify, which its abstract does not state; the chip file takes "
        "the accuracy of tuning as an input.",
    ),
    Row(
        "guo-product", "gate-coupled vector-by-vector multiplier on that array: precision of about 2 %", GUO, 2.0, "%",
        "published/guo-2017",
        "The abstract does not say whether 2 % is a largest or an rms error, nor the currents. The smaller inputs show "
        "how much is the curvature of a cell that leaves subthreshold at the assumed 10 nA. The source names noise, "
        "retention, mismatch and crosstalk between lines too, which the chip file leaves out, so the agreement does "
        "not show that the causes are the same.",
        multiplier.product_error,
    ),
    Row(
        "guo-drift", "differential gate-coupled multiplier on that array: the output drifts by less than 3 % between "
        "25 and 85 degC", GUO, 3.0, "%", "published/guo-2017",
        "The currents of the cells are not in the abstract; those of the chip file were chosen before, for ratios "
        "around 1/e, where a difference of ratios drifts least. The other ratios show how much depends on that.",
        multiplier.drift, at_most=True, bound=1.0,
    ),
    Row(
        "agrawal-programming", "40 nm SONOS cells after programming: standard deviation of the current", AGRAWAL,
        17.83, "nA", "published/agrawal-2022", INPUT, statistics.programming, "fitted", bound=1.05,
    ),
    Row(
        "agrawal-read", "the same cells, from one read to the next: standard deviation of the current", AGRAWAL,
        10.62, "nA", "published/agrawal-2022", INPUT, statistics.reading, "fitted", bound=1.05,
    ),
    Row(
        "agrawal-five-days", "the same cells after five days: standard deviation of the current", AGRAWAL,
        29.56, "nA", "published/agrawal-2022", INPUT, statistics.five_days, "fitted", bound=1.05,
    ),
    Row(
        "agrawal-mean", "the same cells after five days: fall of the mean current, about 17 nA", AGRAWAL,
        17.0, "nA", "published/agrawal-2022", INPUT, statistics.mean_shift, "fitted", bound=1.1,
    ),
    Row(
        "xiao-accuracy", "ResNet-50 on a 40 nm SONOS system, simulated with measured statistics of cells: within 2.16 "
        "points of float on ImageNet", XIAO, 2.16, "points", "published/xiao-2022",
        "Missing for a prediction: ImageNet, ResNet-50 with its trained weights, and the mapping of its layers. A "
        "smaller network would answer another question.",
    ),
    Row(
        "xiao-energy", "the same architecture, simulated with SPICE: 20 TOPS/W, 50 fJ per operation", XIAO, 50.0, "fJ",
        "published/xiao-2022",
        "Converters, amplifiers and integrators of the design are not those of the sources of norsim's costs; buffers "
        "and transfers are of another size.",
        partial(energy.femtojoules, layers=XIAO_LAYERS), bound=2.5,
    ),
    Row(
        "mlflash-accuracy", "modified VGG-16 on 40 nm multi-level NOR flash, simulated: 92.73 % on CIFAR-10", ZENG,
        92.73, "%", "published/mlflash-cim-2021",
        "Missing for a prediction: the modified network and its trained weights, the variation of cells, and the "
        "linearity of the input driver.",
    ),
    Row(
        "mlflash-energy", "the same macro of 1 Mb, 4-bit products: 35.6 TOPS/W, 28.1 fJ per operation", ZENG, 28.09,
        "fJ", "published/mlflash-cim-2021",
        "The currents of cells, the input driver and the multi-level shift amplifier in front of the converter are not "
        "in the abstracts; those of the chip file are assumed.",
        partial(energy.femtojoules, layers=ZENG_LAYERS, left_out=OUTSIDE), bound=2.5,
    ),
    Row(
        "jin-accuracy", "detection of human bodies on a 55 nm NOR flash chip, 8-bit weights: 92.8 %", JIN, 92.8, "%",
        "published/jin", "Missing for a prediction: the network, its trained weights and the data.",
    ),
    Row(
        "jin-energy", "the same chip: 7.48 TOPS/W, 134 fJ per operation", JIN, 133.69, "fJ", "published/jin",
        "The chip senses voltages, by a sampling scheme that the abstract does not describe; norsim's chip converts "
        "currents, bit by bit, with two slices a weight.",
        partial(energy.femtojoules, layers=JIN_LAYERS), bound=2.0,
    ),
)  # fmt: skip
