"""Options of ngspice's decks: those that norsim sets, and those that the models of a cell may need.

ngspice silently treats an unknown option as a variable, so a misspelt one would have no effect.
"""

# Options that norsim's decks set.
OWN_OPTIONS = {"gmin", "abstol", "reltol", "vntol", "temp", "method", "klu", "sparse"}
# Options that change how models and circuits are solved (ngspice's cktsopt.c, and variables that its devices read).
KNOWN_OPTIONS = {
    "scale", "wnflag", "tnom", "defl", "defw", "defad", "defas", "defm", "badmos3", "oldlimit", "epsmin", "xmu",
    "rshunt", "cshunt", "gshunt", "rseries", "itl1", "itl2", "itl4", "itl6", "srcsteps", "gminsteps", "gminfactor",
    "dyngmin", "noopiter", "nodedamping", "absdv", "reldv", "convlimit", "convstep", "convabsstep", "ramptime",
    "chgtol", "trtol", "xtrtol", "pivtol", "pivrel", "maxord", "minbreak", "bypass", "trytocompact", "maxwarns", "warn",
}  # fmt: skip
