"""What a run is given: YAML, its fields and their types, and the Trainer's arguments."""
