"""Measured curves become a cell: readers, equations, fit, and the files of the cell. Behind `norsim cell fit`."""
