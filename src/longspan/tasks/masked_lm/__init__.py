"""Masked language modelling: filling in masked tokens, with more and with less context."""
