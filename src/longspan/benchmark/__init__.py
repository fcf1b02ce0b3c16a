"""Time and memory of attention, encoders and training steps, beside the alternatives of a user, in one run."""
