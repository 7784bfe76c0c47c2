"""Options that resolve an error: messages from the library name no options, so the command line adds them, or puts them
in the place of what to do in Python."""

from __future__ import annotations

import re

from norsim.errors import ConfigurationError, DataError, NorsimError, ThresholdError, UntrustedCellError

# An error's class, a pattern in its message, and the option that resolves or caused it. The first match counts.
HINTS: tuple[tuple[type[NorsimError], str, str], ...] = (
    (UntrustedCellError, "", "--trust-cell allows it"),
    (ConfigurationError, "unless the cell is trusted", "--trust-cell allows it"),
    (DataError, "is the Python code .* unless it is trusted", "--trust-model allows it"),
    (DataError, "was given no folder", "--data DIR gives it"),
    (DataError, "leave out the folder", "--data"),
    (DataError, "of CIFAR-10, so pass one|no CIFAR-10 that can be read", "--data DIR"),
    (ConfigurationError, "^setting ", "--set KEY=VALUE"),
    (ConfigurationError, "(^|: )(the )?bits |^code width", "--bits"),
    (ConfigurationError, "^the section `layers`", "--set layers.PATTERN.KEY=VALUE, or the chip file"),
    (NorsimError, "name a metric", "--metric NAME or FILE.py:FUNCTION"),
    (NorsimError, "give evaluate a metric", "eval-network --metric NAME or FILE.py:FUNCTION"),
    (ConfigurationError, "matches no layer", "--layers PATTERN"),
    (ConfigurationError, "matches no module with weights", "--digital PATTERN"),
    (DataError, "has no float weights", "--weights FILE"),
    (ConfigurationError, "^no bits take so little energy", "--energy"),
    (ConfigurationError, "^the device is", "--device"),
    (ConfigurationError, "Name one of them as the library", "--library FILE"),
    (ConfigurationError, "Choose other read volts", "--wordline-read and --bitline-read"),
    (ConfigurationError, "has no bin for ", "--w and --l"),
    (ConfigurationError, "activation (codes|vectors)", "--vectors K|FILE"),
    (ConfigurationError, "has no data set: name the one", "--dataset NAME, or --dataset FOLDER"),
    (ConfigurationError, "overwrite or resume it", "--overwrite replaces it, --resume continues an interrupted one"),
    (ConfigurationError, "cannot be resumed", "--resume"),
    (ThresholdError, "of full scale is above the tolerance", "--tolerance"),
    (ThresholdError, "converter steps is above the tolerance", "--tolerance-steps"),
    (ThresholdError, "predictions differ between|changed predictions needs", "--max-changed"),
    (NorsimError, "[Uu]se the nodal backend", "--backend nodal"),
    (NorsimError, "[Uu]se the ngspice backend", "--backend ngspice"),
    (NorsimError, "[Uu]se the vacask backend", "--backend vacask, or NORSIM_SIMULATOR=vacask"),
    (NorsimError, "resume (it|the run)", "repeat its command with --resume"),
)


# Advice in terms of Python, and the same in options.
IN_OPTIONS = ((r'digital=\["([^"]*)"\]', r"--digital '\1'"),)


def in_options(text: str) -> str:
    """Return a message with the advice that it gives in terms of Python as options."""
    for pattern, option in IN_OPTIONS:
        text = re.sub(pattern, option, text)
    return text


def hint(problem: NorsimError) -> str:
    """Return the option that resolves or caused an error, as ` (...)`; an empty text if the message needs none."""
    text = str(problem)
    for kind, pattern, option in HINTS:
        if isinstance(problem, kind) and re.search(pattern, text):
            return f" ({option})"
    return ""
