"""The current of a channel: the charge equations of EKV with the effects of short channels.

All volts are against the bulk. The terminal of the lower potential acts as the source, so the current is symmetric. In
order, with v_ds >= 0:

    overdrive      e = v_g - v_s - V_T - gamma (y(phi + v_s) - y(phi)) + (sigma + sigmab v_s) v_ds,
                   y(x) = sqrt((x + sqrt(x^2 + 0.04)) / 2), a square root that is smooth below 0
    charge         q = s ln(1 + exp(e / s)) at the source, in volts, s = 2 n U_T
    saturation     the drain-source voltage at which the current is largest, with E = a ec:
                   x = 2 q^2 / (E s (1 + sqrt(1 + 2 q / E))^2),   v_sat = (e - s (x + ln tanh x)) / a,
                   and the part of v_ds that acts, v = v_ds / (1 + (v_ds / v_sat)^knee)^(1/knee)
    charge         q_d = s ln(1 + exp((e - a v) / s)) at the drain
    current        I = beta / (2 a) (q^2 - q_d^2) / sqrt(1 + (theta q)^2) / (1 + body v_s) / (1 + (q - q_d) / E)
                   (1 + lambda ln(1 + v_ds / ve))

Sources: charges and current from weak to strong inversion, Enz, Krummenacher and Vittoz, Analog Integrated Circuits and
Signal Processing 8 (1995), 83; velocity saturation, Sodini, Ko and Moll, IEEE Trans. Electron Devices 31 (1984), 1386,
here with the charges q - q_d in place of a v_ds, so that it does not act in weak inversion; a smooth minimum of v_ds
and v_sat, and the logarithm of channel-length modulation, after BSIM (Cheng et al., IEEE Trans. Electron Devices 44
(1997), 277). Mobility falls with the charge (theta), which covers series resistance too. x s is the charge at the drain
where the current is largest; ln tanh x, which is at least ln(1 - exp(-x)), keeps v_sat at or below that point.

Temperature: U_T = k T / q, V_T rises by tcv per kelvin, and beta follows (T / tref)^bex; the defaults -1 mV/K and -1.5
are those of EKV 2.6. The current is once differentiable, rises with gate and drain volts, and is 0 without v_ds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.constants import Boltzmann, elementary_charge

from norsim.array.tile import Floats


@dataclass(frozen=True)
class Parameter:
    """A parameter of the channel: the value that a fit starts from, or assumes if the data do not tell it; its bounds,
    its unit, and what it means.

    The data tell it if `needs`, "bulk" or "drain" volts or "kelvin", has at least `levels` different values in them.
    """

    start: float
    low: float
    high: float
    unit: str
    meaning: str
    needs: str = ""
    levels: int = 2


PARAMETERS = {
    "beta": Parameter(1e-4, 1e-12, 10.0, "A/V^2", "gain: mobility x oxide capacitance x width / length"),
    "n": Parameter(1.3, 1.0, 4.0, "", "slope of weak inversion, over k T / q"),
    "theta": Parameter(0.4, 0.0, 5.0, "1/V", "fall of the mobility with the charge, and series resistance"),
    "gamma": Parameter(0.4, 0.0, 3.0, "V^0.5", "body effect", "bulk"),
    "phi": Parameter(0.8, 0.3, 1.5, "V", "surface potential of the body effect", "bulk", 3),
    "sigmab": Parameter(0.005, 0.0, 0.3, "1/V", "rise of sigma with the source-bulk voltage", "bulk"),
    "body": Parameter(0.02, 0.0, 1.0, "1/V", "fall of the mobility with the source-bulk voltage", "bulk"),
    "a": Parameter(1.2, 1.0, 3.0, "", "bulk charge: fall of the overdrive along the channel, over the drain volts",
                   "drain"),
    "sigma": Parameter(0.02, 0.0, 0.5, "", "drain-induced barrier lowering", "drain"),
    "ec": Parameter(1.5, 0.1, 100.0, "V", "critical field of velocity saturation x length", "drain"),
    "knee": Parameter(3.0, 2.0, 8.0, "", "sharpness of the onset of saturation", "drain"),
    "lambda": Parameter(0.05, 0.005, 1.0, "", "channel-length modulation", "drain"),
    "ve": Parameter(0.3, 0.1, 2.0, "V", "voltage of channel-length modulation", "drain"),
    "tcv": Parameter(-1e-3, -1e-2, 1e-2, "V/K", "temperature slope of the threshold", "kelvin"),
    "bex": Parameter(-1.5, -4.0, 2.0, "", "temperature exponent of beta", "kelvin"),
}  # fmt: skip
# Smooths the square root of the body effect, V^2; and keeps a logarithm finite.
ROOT_V2, LEAST = 0.04, 1e-300
VOLTS_PER_KELVIN = Boltzmann / elementary_charge


def amps(
    values: Mapping[str, float], threshold: Floats, gate: Floats, drain: Floats, source: Floats, kelvin: Floats
) -> Floats:
    """Return the current into the drain, amperes, for volts against the bulk; any shape that broadcasts.

    `values` are those of PARAMETERS and `tref`, the kelvin at which they hold.
    """
    get = values.__getitem__
    thermal = VOLTS_PER_KELVIN * kelvin
    low, across = np.minimum(drain, source), np.abs(drain - source)
    barrier = get("gamma") * (_root(get("phi") + low) - _root(np.asarray(get("phi"))))
    at = threshold + get("tcv") * (kelvin - get("tref")) + barrier
    over = gate - low - at + (get("sigma") + get("sigmab") * low) * across
    scale = 2 * get("n") * thermal
    charge, field = _softplus(over, scale), get("a") * get("ec")
    pinched = 2 * (charge / (1 + np.sqrt(1 + 2 * charge / field))) ** 2 / (field * scale)
    saturated = (over - scale * (pinched + np.log(np.tanh(pinched) + LEAST))) / get("a")
    inside = across / (1 + (across / saturated) ** get("knee")) ** (1 / get("knee"))
    end = _softplus(over - get("a") * inside, scale)
    gain = get("beta") / (2 * get("a")) * (kelvin / get("tref")) ** get("bex")
    mobility = np.sqrt(1 + (get("theta") * charge) ** 2) * (1 + get("body") * low)
    fast = 1 + (charge - end) / field
    length = 1 + get("lambda") * np.log1p(across / get("ve"))
    found: Floats = np.sign(drain - source) * gain * (charge - end) * (charge + end) / mobility / fast * length
    return found


def _root(x: Floats) -> Floats:
    found: Floats = np.sqrt((x + np.sqrt(x * x + ROOT_V2)) / 2)
    return found


def _softplus(x: Floats, scale: Floats) -> Floats:
    found: Floats = scale * np.logaddexp(0, x / scale)
    return found
