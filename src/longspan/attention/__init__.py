"""q, k, v -> out: who sees whom, and the backends that compute it.

Names are loaded when first used, so that `AttentionPattern` needs no torch.
"""
