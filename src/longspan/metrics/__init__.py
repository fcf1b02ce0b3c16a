"""predictions -> numbers, per language, equal to the official scorers; no torch."""
