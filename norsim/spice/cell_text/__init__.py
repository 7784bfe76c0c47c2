"""The files of a cell before they are in a deck: Verilog-A, and terms of equations."""
