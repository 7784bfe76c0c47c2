"""The fitted cell in Verilog-A: the same equations."""

from __future__ import annotations

from norsim.cell_fit.channel import LEAST, PARAMETERS, ROOT_V2, VOLTS_PER_KELVIN
from norsim.cell_fit.divider import Divider
from norsim.cell_fit.fit import Fitted

EQUATIONS = f"""\
    analog begin
        ut = {VOLTS_PER_KELVIN!r} * $temperature;
        scale = 2.0 * n * ut;
        across = V(d, s);
        low = V(s, b);
        way = 1.0;
        if (across < 0.0) begin
            across = -across;
            low = V(d, b);
            way = -1.0;
        end

        // Overdrive of the floating gate over the source, with body effect and drain-induced barrier lowering.
        at = ag * vt + tcv * ($temperature - tref)
           + gamma * (sqrt((phi + low + sqrt((phi + low) * (phi + low) + {ROOT_V2})) / 2.0)
                      - sqrt((phi + sqrt(phi * phi + {ROOT_V2})) / 2.0));
        over = ag * V(g, b) + ad * V(d, b) + as * V(s, b) - low - at + (sigma + sigmab * low) * across;

        // Charge at the source, in volts.
        if (over > 0.0)
            charge = over + scale * ln(1.0 + exp(-over / scale));
        else
            charge = scale * ln(1.0 + exp(over / scale));

        // The drain-source volts of the largest current, and the part of the drain-source volts that acts.
        // The least ratio keeps the derivative of pow finite.
        field = a * ec;
        pinched = charge / (1.0 + sqrt(1.0 + 2.0 * charge / field));
        pinched = 2.0 * pinched * pinched / (field * scale);
        ratio = across * a / (over - scale * (pinched + ln(tanh(pinched) + {LEAST})));
        if (ratio < 1.0e-9)
            ratio = 1.0e-9;
        inside = across / pow(1.0 + pow(ratio, knee), 1.0 / knee);

        // Charge at the drain, in volts.
        over = over - a * inside;
        if (over > 0.0)
            drained = over + scale * ln(1.0 + exp(-over / scale));
        else
            drained = scale * ln(1.0 + exp(over / scale));

        current = way * beta / (2.0 * a) * pow($temperature / tref, bex)
                * (charge - drained) * (charge + drained) / sqrt(1.0 + theta * charge * theta * charge)
                / (1.0 + body * low) / (1.0 + (charge - drained) / field)
                * (1.0 + lambda * ln(1.0 + across / ve));
        I(d, s) <+ current;
    end
endmodule
"""
VARIABLES = "ut, scale, across, low, way, at, over, charge, field, pinched, ratio, inside, drained, current"


def module(name: str, fitted: Fitted, cell: Divider, threshold: float, remarks: list[str]) -> str:
    """Return the module `name` with the instance parameter `vt`, `threshold` volts by default, seen from the control
    gate; it has no charges, for DC. `remarks` are lines of its head."""
    lines = [
        *(f"// {line}" for line in remarks),
        '`include "disciplines.vams"',
        "",
        f"module {name}(d, g, s, b);",
        "    inout d, g, s, b;",
        "    electrical d, g, s, b;",
        "",
        f'    (* type="instance", units="V", desc="threshold seen from the control gate" *) parameter real vt = '
        f"{threshold!r};",
    ]
    for key, share in (("ag", cell.gate), ("ad", cell.drain), ("as", cell.source)):
        lines.append(f'    (* desc="share of the floating gate" *) parameter real {key} = {share!r};')
    for key, one in PARAMETERS.items():
        about = f'units="{one.unit}", desc="{one.meaning}"' if one.unit else f'desc="{one.meaning}"'
        lines.append(f"    (* {about} *) parameter real {key} = {fitted.values[key]!r};")
    lines.append(
        f'    (* units="K", desc="temperature of the parameters" *) parameter real tref = {fitted.values["tref"]!r};'
    )
    return "\n".join([*lines, "", f"    real {VARIABLES};", "", EQUATIONS])
