"""checkpoint -> records: honest protocols and their baselines. Knows no task by name."""
