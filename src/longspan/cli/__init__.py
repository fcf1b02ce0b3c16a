"""The command `longspan`, one file a verb."""
