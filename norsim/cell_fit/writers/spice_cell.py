"""The fitted cell as a subcircuit for ngspice."""

from __future__ import annotations

from norsim.array.measured import ZERO_CELSIUS
from norsim.cell_fit.channel import LEAST, PARAMETERS, ROOT_V2, VOLTS_PER_KELVIN
from norsim.cell_fit.divider import Divider
from norsim.cell_fit.fit import Fitted


def netlist(name: str, fitted: Fitted, cell: Divider, threshold: float, remarks: list[str]) -> str:
    """Return the subcircuit `name` with the parameter `vt`, `threshold` volts by default, seen from the control gate.

    Its nodes inside hold the quantities of norsim.cell_fit.channel, in volts: expressions of expressions would take
    ngspice ten times as long. `remarks` are lines of its head.
    """
    values = {key: fitted.values[key] for key in (*PARAMETERS, "tref")}
    given = [f"{key}={value!r}" for key, value in values.items()]
    low, across, over = "min(v(d,b),v(s,b))", "abs(v(d,s))", "v(over,b)"
    drained, end = "(v(charge,b)-v(end,b))", "v(over,b)-({a})*v(inside,b)"
    charge = f"(max({over},0)+({{scale}})*ln(1+exp(-abs({over})/({{scale}}))))"
    # With the charge's node in place of its expression, cells that are off would have derivatives of 1e9 in the matrix,
    # and ngspice's pivoting would fill it.
    pinched = f"2*({charge}/(1+sqrt(1+2*{charge}/({{field}}))))^2/({{field*scale}})"
    lines = [
        *(f"* {line}" for line in remarks),
        f".subckt {name} d g s b vt={threshold!r}",
        f".param ag={cell.gate!r} ad={cell.drain!r} as={cell.source!r}",
        *(f".param {' '.join(given[start : start + 4])}" for start in range(0, len(given), 4)),
        f".param kelvin={{temper+{ZERO_CELSIUS}}}",
        f".param ut={{{VOLTS_PER_KELVIN!r}*kelvin}}",
        ".param scale={2*n*ut} field={a*ec} gain={beta/(2*a)*(kelvin/tref)^bex}",
        f".param root0={{sqrt((phi+sqrt(phi*phi+{ROOT_V2}))/2)}}",
        ".param at={ag*vt+tcv*(kelvin-tref)-gamma*root0}",
        "* the overdrive of the floating gate over the source, with body effect and drain-induced barrier lowering",
        f"Bover over b V=({{ag}})*v(g,b)+({{ad}})*v(d,b)+({{as}})*v(s,b)-{low}-({{at}})"
        f"-({{gamma}})*sqrt((({{phi}})+{low}+sqrt((({{phi}})+{low})^2+{ROOT_V2}))/2)"
        f"+(({{sigma}})+({{sigmab}})*{low})*{across}",
        "* the charge at the source, in volts",
        f"Bcharge charge b V={charge}",
        "* the drain-source volts of the largest current, and the part of the drain-source volts that acts",
        f"Bsat sat b V=max((v(over,b)-({{scale}})*({pinched}+ln(tanh({pinched})+{LEAST})))/({{a}}),1m)",
        f"Binside inside b V={across}/(1+({across}/max(v(sat,b),1m))^({{knee}}))^({{1/knee}})",
        "* the charge at the drain, in volts",
        f"Bend end b V=max({end},0)+({{scale}})*ln(1+exp(-abs({end})/({{scale}})))",
        f"Bcell d s I=({{gain}})*sgn(v(d,s))*{drained}*(v(charge,b)+v(end,b))/sqrt(1+(({{theta}})*v(charge,b))^2)"
        f"/(1+({{body}})*{low})/(1+max({drained},0)/({{field}}))*(1+({{lambda}})*ln(1+{across}/({{ve}})))",
        f".ends {name}",
    ]
    return "\n".join(lines) + "\n"
