* linear.sp: an ideal cell, a conductance that the gate switches and the threshold sets.
*
* Pins    d drain (bitline), g gate (wordline), s source (source line), b bulk
* State   vt: the threshold seen from the gate, in volts
*
* The current is gm (v(g) - vt) v(d, s) above the threshold and nothing below it: linear in what wires
* change. Put in place of a real cell, it tells what the real one's non-linearity costs.
.subckt linear d g s b vt=3
.param gm=20u
Bcell d s i={gm}*max(v(g,b)-{vt},0)*v(d,s)
.ends linear
