* threshold_shift.sp: the same state without a floating gate: a plain transistor whose threshold shifts.
*
* Pins    d drain (bitline), g gate (wordline), s source (source line), b bulk
* State   vt: the threshold seen from the gate, in volts
*
* What a cell model does when drain coupling is left out: gate, threshold and current are those of the
* transistor alone. Every volt on the gate counts in full, so a lower read voltage fits it.
.subckt threshold_shift d g s b vt=3
.param vth0=0.8
Mcell d g s b etox65 w=70n l=110n delvto={vt-vth0}
.ends threshold_shift
