"""Names of data sets and their splits."""

from pathlib import Path

from longspan.data.opening import COMPRESSIONS
from longspan.errors import InputError


def name_of_file(path: Path) -> str:
    """A file's name without .json, .jsonl and the suffix of its compression."""
    name = path.name
    for ending in (*COMPRESSIONS, ".json", ".jsonl"):
        name = name.removesuffix(ending)
    return name


def looks_like_a_path(name: str) -> bool:
    """Whether a name looks like a file or folder, for names that do not exist."""
    return name.endswith((".json", ".jsonl", *COMPRESSIONS)) or name.startswith((".", "~")) or Path(name).is_absolute()


def known_split(name: str, split: str | None, splits: tuple[str, ...]) -> str:
    """Return `split` if it is one of `splits`; the first of `splits` if it is None.

    Raises:
        InputError: there is no such split.
    """
    split = splits[0] if split is None else split
    if split not in splits:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(splits)}")
    return split
