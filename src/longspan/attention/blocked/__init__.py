"""Attention over blocks of queries, on any device; memory is linear in the number of tokens (`docs/attention.md`)."""

from longspan.attention.blocked.backend import attend_blocked

__all__ = ["attend_blocked"]
