"""How long things take, beside what a user would take instead, in one run."""
