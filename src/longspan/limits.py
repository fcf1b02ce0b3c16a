"""Bounds on what is read: how large a file, an archive's content or a YAML tree may be.

A reader that keeps a whole file in memory is bounded by the size of the file. A compressed file is also bounded by its
own size, because a few megabytes can unpack to terabytes. `LONGSPAN_MAX_UNPACKED`, or `--max_unpacked` on the command
line, replaces these bounds.
"""

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from longspan.errors import InputError

VARIABLE = "LONGSPAN_MAX_UNPACKED"
OPTION = "--max_unpacked"

DATA_BYTES = 4 << 30
"""A file that is read whole: a data set, a list of questions."""
LINE_BYTES = 1 << 30
"""A line of a file that is read line by line."""
DESCRIPTION_BYTES = 256 << 20
"""A record, or a JSON file of a checkpoint. Tokenizers of large vocabularies have 30 MB."""
YAML_BYTES = 1 << 20
"""A recipe or a grid."""
_ARCHIVE_BYTES = 1 << 30
_ARCHIVE_RATIO = 100  # text packs to a tenth; what packs to a hundredth repeats itself
_YAML_NODES = 100_000
_CHUNK = 1 << 20
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", re.IGNORECASE)


def parse_size(text: str, where: str) -> int:
    """Bytes that a size such as "5GB", "512 MiB" or "1000000" says.

    Raises:
        InputError: it is no size, or 0.
    """
    found = _SIZE.fullmatch(text.strip())
    n_bytes = int(float(found[1]) * _UNITS[(found[2] or "").lower()]) if found else 0
    if n_bytes < 1:
        raise InputError(f"{where} is {text!r}; it must be a size such as 5GB or 500MB")
    return n_bytes


@contextmanager
def set_bound(size: str | None) -> Iterator[None]:
    """Set the bound that `--max_unpacked` says, also for the processes that this one starts.

    Raises:
        InputError: it is no size.
    """
    if size is None:
        yield
        return
    parse_size(size, OPTION)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = size
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def bound_of_file(most_bytes: int) -> int:
    """The user's bound, else `most_bytes`."""
    asked = os.environ.get(VARIABLE)
    return most_bytes if not asked else parse_size(asked, VARIABLE)


def bound_of_description(most_bytes: int) -> int:
    """The larger of the user's bound and `most_bytes`: a small bound for data leaves the model readable."""
    return max(most_bytes, bound_of_file(most_bytes))


def bound_of_archive(n_packed: int) -> int:
    """What a compressed file of `n_packed` bytes may unpack to: the user's bound, else 1 GiB or 100 times that."""
    return bound_of_file(max(_ARCHIVE_BYTES, _ARCHIVE_RATIO * n_packed))


def too_large(
    path: str | Path, n_bytes: int, bound: int, *, is_packed: bool = False, is_whole: bool = True
) -> InputError:
    """What to say of a file of which `n_bytes` were read or are declared.

    Args:
        path: the file.
        n_bytes: its size, or what was read of it until the bound.
        bound: what it may have.
        is_packed: the bytes are those it unpacks to.
        is_whole: it has `n_bytes`, not more than these.
    """
    has = "unpacks to" if is_packed else "has"
    return InputError(
        f"{path} {has} {'' if is_whole else 'at least '}{n_bytes:,} bytes, and the bound is {bound:,}; check that it "
        f"is the right file, then raise the bound with {OPTION} (or {VARIABLE}), for instance {OPTION} "
        f"{_next_gigabytes(max(n_bytes, bound))}GB"
    )


def _next_gigabytes(n_bytes: int) -> int:
    return 2 * n_bytes // 10**9 + 1


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """The bytes of a file that is not compressed.

    Raises:
        InputError: it has more than `most_bytes`.
        OSError: it cannot be opened or read.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size > most_bytes:
            raise too_large(path, status.st_size, most_bytes)
        if stat.S_ISREG(status.st_mode) and status.st_size:
            return file.read()
        # A pipe or a device does not say how much it holds; neither do the files of /proc.
        parts, n_read = [], 0
        while data := file.read(_CHUNK):
            parts.append(data)
            n_read += len(data)
            if n_read > most_bytes:
                raise too_large(path, n_read, most_bytes, is_whole=False)
        return b"".join(parts)


def read_description(path: Path) -> bytes:
    """The bytes of a record, or of a JSON file of a checkpoint, a run or a cache.

    Raises:
        InputError: it is too large.
        OSError: it cannot be opened or read.
    """
    return read_bounded(path, bound_of_description(DESCRIPTION_BYTES))


def load_json(path: Path) -> Any:
    """The value in a JSON file of a checkpoint, a run or a cache.

    Raises:
        InputError: it is too large or nested too deeply.
        ValueError: it is not JSON, or not UTF-8.
        OSError: it cannot be opened or read.
    """
    try:
        return json.loads(read_description(path))
    except RecursionError:
        raise InputError(f"{path} is nested too deeply; check that it is the right file") from None


def load_yaml(text: str, where: str | Path, loader: type[Any] = yaml.SafeLoader) -> Any:
    """The value of a YAML text.

    Aliases cost nothing while they are loaded, and may stand for a tree that no memory holds once it is written out
    or compared. So the size of the written-out tree is counted first.

    Raises:
        InputError: it has too many values, with those that its aliases repeat, or is nested too deeply.
        yaml.YAMLError: it is not YAML.
    """
    made = loader(text)
    try:
        node = made.get_single_node()
        if node is None:
            return None
        if (n_nodes := _n_nodes(node, {}, frozenset())) > _YAML_NODES:
            shown = f"{n_nodes:,}" if n_nodes < 10**15 else "more than 10**15"
            raise InputError(
                f"{where} holds {shown} values with those that its aliases (*name) repeat, and the bound is "
                f"{_YAML_NODES:,}; write the values out"
            )
        return made.construct_document(node)
    except RecursionError:
        raise InputError(f"{where} is nested too deeply; check that it is the right file") from None
    finally:
        made.dispose()


def _n_nodes(node: yaml.Node, known: dict[int, int], above: frozenset[int]) -> int:
    """Nodes of the tree with every alias written out."""
    if id(node) in above:
        raise RecursionError
    if id(node) not in known:
        n, inside = 1, above | {id(node)}
        if isinstance(node, yaml.MappingNode):
            n += sum(_n_nodes(key, known, inside) + _n_nodes(value, known, inside) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            n += sum(_n_nodes(value, known, inside) for value in node.value)
        known[id(node)] = n
    return known[id(node)]
