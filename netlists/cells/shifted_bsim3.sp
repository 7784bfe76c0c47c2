* shifted_bsim3.sp: a 180 nm class cell; the transistor is a subcircuit inside another, as in foundry models.
*
* Pins    d drain (bitline), g gate (wordline), s source (source line), b bulk
* State   shift: shift of the transistor's threshold, in volts
.subckt generic180_nmos d g s b w=1u l=1u shift=0
Mcell d g s b generic180 w={w} l={l} ad={w*0.4u} as={w*0.4u} pd={2*w+0.8u} ps={2*w+0.8u} delvto={shift}
.ends generic180_nmos
.subckt shifted_bsim3 s b g d width=0.3u shift=0
Xtransistor d g s b generic180_nmos w={width} l=0.3u shift={shift}
.ends shifted_bsim3
