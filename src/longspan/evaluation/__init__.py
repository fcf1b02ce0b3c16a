"""checkpoint -> records: honest protocols and their baselines."""
