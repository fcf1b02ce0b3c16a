"""Attention by the flash kernels that torch ships for NVIDIA GPUs (`docs/attention.md`)."""

from longspan.attention.flash.backend import attend_flash, reason_against_flash

__all__ = ["attend_flash", "reason_against_flash"]
