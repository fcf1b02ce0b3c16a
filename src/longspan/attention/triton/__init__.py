"""Our own GPU kernels: window, dilation and global columns in one pass with an online softmax (`docs/attention.md`).

triton is imported when the first kernel is launched.
"""

from longspan.attention.triton.backend import attend_triton, reason_against_triton, reason_to_name_triton

__all__ = ["attend_triton", "reason_against_triton", "reason_to_name_triton"]
