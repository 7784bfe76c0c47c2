"""The files of a fitted cell: netlist, Verilog-A and chip file."""
