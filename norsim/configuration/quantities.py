"""Quantities with units: text in chip files, SI units inside norsim.

Importing pint takes half a second, so it is imported when the first quantity is converted.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

if TYPE_CHECKING:
    import pint

# Digits are ASCII, because \d matches those of all scripts.
NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
PLAIN_NUMBER = re.compile(NUMBER)
QUANTITY = re.compile(rf"({NUMBER}|[-+]?(?:nan|inf))\s*([^\W\d_]+2?(?:[/*][^\W\d_]+2?)*)")
# Limits of chip files. Beyond them a value is no property of an array, and the work or memory that it needs is
# unbounded: a cell's curve is measured every few millivolts, and models of transistors end between 1000 K and 2000 K.
MOST_VOLTS, MOST_AMPERES, MOST_OHMS = 100, 1, 10**9
MOST_KELVIN, MOST_SECONDS, MOST_STEPS = 1000, 10**12, 2**24


@lru_cache
def _units() -> pint.UnitRegistry[float]:
    import pint

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


def _squared(unit: str) -> str:
    """Return a unit as pint writes it: `mm**2` for `mm2`."""
    return unit.replace("2", "**2")


def _converted(text: str, unit: str | None = None) -> float:
    """Convert a quantity to a number in `unit`, by default the SI unit. Raises ValueError if the text is no quantity or
    has another dimension."""
    match = QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    import pint

    try:
        found = _units().Quantity(float(match[1]), _squared(match[2]))
        return float((found.to_base_units() if unit is None else found.to(_squared(unit))).magnitude)
    except pint.PintError as problem:
        raise ValueError(str(problem)) from None


@dataclass(frozen=True)
class Conversion:
    """Conversion of text such as `1.6 uA` to a number in `unit`; a bare number is an error."""

    unit: str

    def __call__(self, value: Any) -> float:
        """Convert a value. Raises ValueError, with a message for authors of chip files, if it is no such quantity."""
        if not isinstance(value, str):
            raise ValueError(f"give a quantity with its unit, for example '1 {self.unit}', not {value!r}")
        try:
            return _converted(value, self.unit)
        except ValueError:
            raise ValueError(f"{value!r} is not a quantity in units of {self.unit}, such as '1 {self.unit}'") from None


def quantity(unit: str) -> BeforeValidator:
    """Return a validator that converts a quantity to a number in `unit`."""
    return BeforeValidator(Conversion(unit))


def any_quantity(value: Any) -> float:
    """Convert a bare number, or a quantity in any unit to SI units: `1.5 fC` -> 1.5e-15."""
    # YAML reads 1e-15, which has no point, as text.
    if (isinstance(value, int | float) and not isinstance(value, bool)) or PLAIN_NUMBER.fullmatch(str(value)):
        try:
            return float(value)
        except OverflowError:
            raise ValueError("expected a finite number") from None
    try:
        return _converted(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is neither a number nor a quantity such as '1.5 fC'") from None


def same_kind(first: Any, second: Any) -> bool:
    """Return whether two values for `any_quantity` have units of one dimension; bare numbers match only each other."""
    return bool(_kind(first) == _kind(second))


def has_unit(value: Any, unit: str) -> bool:
    """Return whether a value for `any_quantity` is a quantity in units of the dimension of `unit`."""
    kind = _kind(value)
    return bool(kind is not None and kind == _units().Quantity(1.0, unit).dimensionality)


def _kind(value: Any) -> Any:
    """Return the dimension of a value; None for a bare number."""
    match = QUANTITY.fullmatch(str(value).strip())
    return _units().Quantity(1.0, _squared(match[2])).dimensionality if match else None


Volts = Annotated[float, quantity("volt"), Field(ge=-MOST_VOLTS, le=MOST_VOLTS, allow_inf_nan=False)]
Amperes = Annotated[float, quantity("ampere"), Field(gt=0, le=MOST_AMPERES, allow_inf_nan=False)]
Ohms = Annotated[float, quantity("ohm"), Field(ge=0, le=MOST_OHMS, allow_inf_nan=False)]
NotNegative = Field(ge=0, allow_inf_nan=False)
Farads = Annotated[float, quantity("farad"), NotNegative]
Kelvin = Annotated[float, quantity("kelvin"), Field(gt=0, le=MOST_KELVIN, allow_inf_nan=False)]
Seconds = Annotated[float, quantity("second"), Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Watts = Annotated[float, quantity("watt"), NotNegative]
Joules = Annotated[float, quantity("joule"), NotNegative]
SquareMetres = Annotated[float, quantity("m2"), NotNegative]
Steps = Annotated[float, Field(ge=0, le=MOST_STEPS, allow_inf_nan=False)]


def engineering(value: float, unit: str) -> str:
    """Format a quantity with three digits and a prefix, such as 35.0 nJ."""
    steps = min(max(math.floor(math.log10(value) / 3), -6), 0) if value > 0 else 0
    return f"{value / 10.0 ** (3 * steps):.3g} {['', 'm', 'u', 'n', 'p', 'f', 'a'][-steps]}{unit}"
