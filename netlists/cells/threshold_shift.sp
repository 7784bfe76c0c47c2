* threshold_shift.sp: a cell without a floating gate: a plain transistor with a shifted threshold.
*
* Pins    d drain (bitline), g gate (wordline), s source (source line), b bulk
* State   vt: the threshold seen from the gate, in volts
*
* A cell model without drain coupling: gate, threshold and current are those of the transistor. There is
* no capacitive divider at the gate, so it needs a lower read voltage.
.subckt threshold_shift d g s b vt=3
.param vth0=0.8
Mcell d g s b etox65 w=70n l=110n delvto={vt-vth0}
.ends threshold_shift
