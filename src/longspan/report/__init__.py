"""records -> tables, plots, one HTML page; reads records only, no torch."""
