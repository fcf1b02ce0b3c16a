"""files -> features: readers, concatenation, overlapping windows, packing, masking."""
