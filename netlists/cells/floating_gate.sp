* floating_gate.sp: a NOR-flash cell whose floating gate is a capacitive divider.
*
* Pins    d drain (bitline), g control gate (wordline), s source (source line), b bulk
* State   vt: the threshold seen from the control gate, in volts, with source and bulk at 0 V
*
* The floating gate is at
*   v(fg) = ag v(g) + ad v(d) + as v(s) + ab v(b) + Q/CT,      ag + ad + as + ab = 1,
* where ag ... ab are coupling ratios C/CT and Q is the stored charge. With the bulk as the reference,
* the bulk's term is zero, so three linear E sources in series add the other three. A gate node with
* only capacitors would make a singular matrix at DC; E sources are equivalent and linear.
*
* The stored charge shifts the transistor's threshold: the cell conducts when
*   ag vt + Q/CT = vth0,   so   delvto = -Q/CT = ag vt - vth0.
.subckt floating_gate d g s b vt=3
.param ag=0.60 ad=0.08 as=0.12 vth0=0.8
Egate  n1 b  g b {ag}
Edrain n2 n1 d b {ad}
Esrc   fg n2 s b {as}
Mcell  d fg s b etox65 w=70n l=110n delvto={ag*vt-vth0}
.ends floating_gate
