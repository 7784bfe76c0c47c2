* linear.sp: an ideal cell, a conductance switched by the gate and set by the threshold.
*
* Pins    d drain (bitline), g gate (wordline), s source (source line), b bulk
* State   vt: the threshold seen from the gate, in volts
*
* The current is gm (v(g) - vt) v(d, s) above the threshold and zero below it: linear in the volts that
* wires change. In place of a real cell, it shows the effect of the real cell's non-linearity.
.subckt linear d g s b vt=3
.param gm=20u
Bcell d s i={gm}*max(v(g,b)-{vt},0)*v(d,s)
.ends linear
