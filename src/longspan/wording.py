"""Phrases that several rooms use: durations, and suggestions of near names in error messages."""

import difflib
from collections.abc import Iterable, Sequence


def duration(seconds: float) -> str:
    """Seconds as people say them: `12 ms`, `0.8 s`, `42 s`, `7 min 5 s`, `3 h 12 min`."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    minutes = round(seconds / 60)
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def did_you_mean(
    name: str,
    known: Iterable[str],
    otherwise: str = "",
    *,
    first: Sequence[str] = (),
    n: int = 1,
    cutoff: float = 0.6,
) -> str:
    """The question "did you mean train_data?" for a name that is not known.

    Args:
        name: what the user wrote.
        known: the names that exist.
        otherwise: the text if none of them is near.
        first: names to suggest before those that are spelled like `name`.
        n: names to suggest at most.
        cutoff: least similarity of a near name, from 0 to 1 (`difflib.get_close_matches`).
    """
    near = list(dict.fromkeys([*first, *difflib.get_close_matches(name, list(known), n=n, cutoff=cutoff)]))[:n]
    return f"did you mean {' or '.join(near)}?" if near else otherwise
