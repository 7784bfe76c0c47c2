"""All parts, those first that the page needs most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from results.part import OTHERS, Part

DIGITS, SMALL = "digits-cnn", "resnet20"
LARGE = ("alexnet", "resnet18", "vgg16")
SHIPPED = (DIGITS, SMALL, *LARGE)
# Of CIFAR-10. A paired interval of 1,000 images is about a point wide to each side; large networks, and what programs
# many chips, take fewer.
ALL, COMPARED, FEWER, FEW = 10_000, 1000, 300, 200
# The images of a large network's parts: the first, and how many.
SLICES = ((0, ALL),)
# ngspice solves some reads of every run again, and of the part `proof` of digits enough for a bound; a read of a tile
# of 256 x 128 takes it a minute.
WITNESS = ("--spice-sample", "2", "--proof-images", "0", "--proof-seconds", "120")
PROVED = 300
PROOF = ("--proof-images", str(PROVED), "--proof-seconds", "6000")

REFERENCE = "reference"
IDEAL_STRAPS = ("--chip", "etox65-ideal-straps")
ONE_END = ("--set", "bit_serial.wires.strap_ends=one")
UNFITTED = ("--set", "calibration.column_fit=false")
IN_PLACE = ("--set", "silicon.in_situ=true")
HALF_CURRENT = ("--set", "bit_serial.top_level=0.8 uA")
STRESS = ("--chip", "etox65-stress")
TUNED = ("--network", "{before}")
# What is measured on the chip `etox65`, whose straps are grounded at both ends, and on its variants.
VARIANTS = {
    "ideal-straps": IDEAL_STRAPS,
    "one-end": ONE_END,
    "one-end-unfitted": (*ONE_END, *UNFITTED),
    "one-end-in-place": (*ONE_END, *IN_PLACE),
    "unfitted": UNFITTED,
    "in-place": IN_PLACE,
}
ENCODINGS = {
    "linear-pair": ("--encoding", "linear-pair"),
    "pulse-width": ("--encoding", "pulse-width"),
    "differential": ("--set", "mapping.scheme=differential"),
    "digital-zero": ("--set", "mapping.scheme=digital"),
}
# `macro` does not read this encoding, so `nodal` does, a few images.
GATE_COUPLED, GATE_COUPLED_IMAGES = ("--encoding", "gate-coupled", "--backend", "nodal"), 50
STRESSED = {
    "stress": STRESS,
    "stress-unfitted": (*STRESS, *UNFITTED),
    "stress-in-place": (*STRESS, *IN_PLACE),
}
BITS = ("8", "4/8", "4")
# Level currents and drain volts, chosen on training images.
LEVELS = (
    "sweep", *STRESS, "--split", "train", "--images", "500", "--spice-sample", "0",
    "--vary", "bit_serial.top_level=0.2 uA,0.4 uA,0.8 uA,1.6 uA", "--vary", "bit_serial.bitline_read=0.3 V,0.5 V,1 V",
)  # fmt: skip

# Fewer chips leave the spread between them unknown: the 95 % interval of three is 0.5 to 6 times the estimate, that of
# ten 0.7 to 1.8 times.
CHIPS = ("--trials", "10")
SONOS = (
    "--set", "silicon.programming={scale: 19.887 nA, knee: 176.31 nA}",
    "--set", "silicon.aged={scale: 34.579 nA, knee: 207.34 nA, after: 5 day}",
    "--set", "silicon.mean_drift={shift: -48 nA, at: 1067 nA, power: 1.058, after: 5 day}",
)  # fmt: skip
SWEPT = {
    "spread": ("--vary", "silicon.drift_cell=0 mV,2 mV,5 mV,10 mV,20 mV", *CHIPS),
    # `sweep` fits the converters of these before ageing.
    "time": ("--vary", "silicon.time=0 s,1 hour,1 day,5 day", *CHIPS, *SONOS),
    "temperature": (
        "--vary", "temperature=0 degC,27 degC,55 degC,85 degC", "--vary", "silicon.tracking=false,true",
        "--set", "silicon.programmed_at=27 degC", "--set", "calibration.fresh=true",
    ),
    "converter": ("--vary", "adc.bits=3,4,5,6,8"),
    "wordline-lag": ("--vary", "bit_serial.wordline_rise=20 ps,40 ps,60 ps,100 ps,200 ps"),
    "rows": ("--vary", "tile.wordlines=64,128,256,512"),
    "source-line": ("--vary", "bit_serial.wires.source_line=5 ohm,20 ohm,50 ohm,150 ohm"),
    "bitline": ("--vary", "bit_serial.wires.bitline=0.4 ohm,1 ohm,2 ohm,4 ohm"),
}  # fmt: skip

# A read chain with every effect on: what each value is, as its page says it.
CHAIN = {
    "bit_serial.wires.strap_ends=one": "straps are grounded at one end only",
    "bit_serial.wires.strap=0.4 ohm": "metal of straps, a cell",
    "bit_serial.wires.ground=1 ohm": "from the end of a strap to ground",
    "sense.multiplexer=100 ohm": "column multiplexer",
    "sense.global_bitline=50 ohm": "global bitline",
    "sense.offset=1 mV": "offset of the amplifiers, one per bitline, standard deviation",
    "sense.read_time=5 ns": "a read is sampled 5 ns after the edge of its wordlines",
    "sense.global_farads=0.5 pF": "capacitance of the global bitline",
    "adc.inl=0.5": "non-linearity of the SAR converters, standard deviation in steps at mid-scale",
    "adc.noise=0.5": "noise of a conversion, in steps",
    "silicon.programming={scale: 19.887 nA, knee: 176.31 nA}": "spread of programming, that of 40 nm SONOS cells",
    "silicon.reading={scale: 5 nA, knee: 50 nA}": "noise of a read of a cell",
}


def images_of(network: str, images: int) -> int | None:
    """Return a number of images for a part; None, all, of digits, which has fewer."""
    return None if network == DIGITS else images


def rows(network: str, some: Mapping[str, tuple[str, ...]], images: int) -> list[Part]:
    """Return an evaluation for each row, of the first images."""
    return [
        Part(network, row, options=(*options, *WITNESS), images=images_of(network, images))
        for row, options in some.items()
    ]


def reference(network: str) -> list[Part]:
    """Return the evaluation of all images on the preset, in parts if it takes long."""
    if network not in LARGE:
        return [Part(network, REFERENCE, options=WITNESS, images=images_of(network, ALL))]
    return [
        Part(network, REFERENCE, options=WITNESS, images=images, skipped=first, number=number)
        for number, (first, images) in enumerate(SLICES, 1)
    ]


def proof(network: str) -> Part:
    """Return the part with which errors are bounded, and predictions compared with those of `nodal`."""
    sample = "59" if network == DIGITS else "2"
    return Part(network, "proof", options=("--spice-sample", sample, *PROOF), images=images_of(network, PROVED))


def tuned(network: str, row: str, options: tuple[str, ...], images: int) -> Part:
    """Return the part that trains the weights through the circuit first."""
    return Part(
        network, row, options=(*TUNED, *options, *WITNESS), before=("finetune", *options),
        images=images_of(network, images),
    )  # fmt: skip


def bits(network: str, images: int, widths: tuple[str, ...] = BITS) -> list[Part]:
    """Return the evaluations of float weights quantized to other widths, after training."""
    return [
        Part(network, f"bits-{width.replace('/', '-')}", options=("--bits", width, *WITNESS), images=images)
        for width in widths
    ]


def attributions(network: str, images: int) -> list[Part]:
    """Return the losses by cause in two encodings, and by layer."""
    return [
        Part(network, f"causes-{encoding}", "attribute", ("--encoding", encoding), images=images_of(network, images))
        for encoding in ("bit-serial", "linear-pair")
    ] + [Part(network, "layers-bit-serial", "attribute", ("--by", "layers"), images=images_of(network, images))]


def read_chain(network: str) -> Part:
    """Return the losses to the causes of a chip that has them all."""
    settings = [word for setting in CHAIN for word in ("--set", setting)]
    return Part(network, "read-chain", "attribute", ("--by", "causes", *settings, "--orders", "2"), images=FEW)


def sweeps(network: str, images: int) -> list[Part]:
    """Return the accuracies over what silicon, converters and wires may be."""
    return [
        Part(network, f"sweep-{name}", "sweep", ("--spice-sample", "1", *swept), images=images_of(network, images))
        for name, swept in SWEPT.items()
    ]


def stress() -> list[Part]:
    """Return what each cure regains on the stress chip."""
    levels = Part(
        SMALL, "stress-levels", options=("--chip", "{before}/best.yaml", *WITNESS), before=LEVELS, images=COMPARED
    )
    cures = Part(SMALL, "stress-cures", "attribute", (*STRESS, "--by", "cures"), images=FEW)
    return [*rows(SMALL, STRESSED, COMPARED), levels, tuned(SMALL, "stress-tuned", STRESS, COMPARED), cures]


def _parts() -> Iterator[Part]:
    # The headline, the metal of the straps, and remedies.
    yield from (*reference(DIGITS), proof(DIGITS), *reference(SMALL))
    some = {name: VARIANTS[name] for name in ("ideal-straps", "one-end")}
    yield from rows(SMALL, some, COMPARED)
    for network in LARGE:
        yield from reference(network)
    yield proof(SMALL)
    others = {name: options for name, options in VARIANTS.items() if name not in some}
    yield from (*rows(SMALL, others, COMPARED), tuned(SMALL, "one-end-tuned", ONE_END, COMPARED))
    yield from (*rows(DIGITS, VARIANTS, ALL), tuned(DIGITS, "one-end-tuned", ONE_END, ALL))
    for network in (SMALL, *LARGE):
        yield from rows(network, {"half-current": HALF_CURRENT}, ALL)
    for network in LARGE:
        yield from rows(network, some, FEWER)
    # Encodings, and remedies of the large networks.
    for network in (DIGITS, SMALL):
        yield from rows(network, ENCODINGS, COMPARED)
    yield Part(DIGITS, "gate-coupled", options=(*GATE_COUPLED, *WITNESS), images=GATE_COUPLED_IMAGES)
    for network in LARGE:
        yield from rows(network, {name: others[name] for name in ("one-end-unfitted", "one-end-in-place")}, FEWER)
    # Other widths, and transformers.
    yield from bits(SMALL, COMPARED)
    for network, images in zip(OTHERS, (FEWER, 79), strict=True):
        yield from bits(network, images)
    # Proofs of the large networks; the read chain; many chips; causes; the stress chip.
    yield from (proof(network) for network in LARGE)
    for network in (DIGITS, SMALL):
        yield read_chain(network)
    yield from (*sweeps(DIGITS, ALL), *sweeps(SMALL, FEW))
    for network in (DIGITS, SMALL):
        yield from attributions(network, 500)
    yield from stress()
    # What is costly to measure.
    for network in LARGE:
        yield from (tuned(network, "one-end-tuned", ONE_END, FEWER), *attributions(network, FEW))
    yield Part(SMALL, "time", program=("-m", "results.speed"))


PARTS = tuple(_parts())
