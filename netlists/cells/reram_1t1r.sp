* reram_1t1r.sp: a resistive memory cell, a filament in series with a switch as selector.
*
* Pins    d drain (bitline), g gate (wordline), s source (source line)
* State   conductance: of the filament, siemens
*
* Estimates: a filament of 0.1 uS to 10 uS, and a selector of 2 kohm that turns on at 1.2 V.
.subckt reram_1t1r d g s conductance=1u
Rfilament d m {1/conductance}
Sselector m s g s reram_selector off
.model reram_selector sw vt=1.2 vh=0.1 ron=2k roff=1e12
.ends reram_1t1r
