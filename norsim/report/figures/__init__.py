"""SVG figures of reports, sweeps and cell checks."""
