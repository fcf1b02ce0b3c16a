"""Upper bounds on the size of files, unpacked archives and YAML trees that are read.

A reader that keeps a whole file in memory limits the file's size. The bound for a compressed file also depends on its
compressed size, because a few megabytes can unpack to terabytes. `LONGSPAN_MAX_UNPACKED`, or `--max_unpacked` on the
command line, replaces these bounds.
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
_ARCHIVE_RATIO = 100  # text compresses about 10 times; 100 times only if it repeats itself
_YAML_NODES = 100_000
_CHUNK = 1 << 20
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", re.IGNORECASE)


def parse_size(text: str, where: str) -> int:
    """Convert a size such as "5GB", "512 MiB" or "1000000" to bytes.

    Args:
        text: the size.
        where: the option or variable that it comes from, for the error message.

    Raises:
        InputError: `text` is not a size, or is 0.
    """
    found = _SIZE.fullmatch(text.strip())
    n_bytes = int(float(found[1]) * _UNITS[(found[2] or "").lower()]) if found else 0
    if n_bytes < 1:
        raise InputError(f"{where} is {text!r}; it must be a size such as 5GB or 500MB")
    return n_bytes


@contextmanager
def set_bound(size: str | None) -> Iterator[None]:
    """Set the bound of `--max_unpacked`, for this process and those that it starts; None changes nothing.

    Raises:
        InputError: `size` is not a size.
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
    """The user's bound in bytes; `most_bytes` if the user set none."""
    asked = os.environ.get(VARIABLE)
    return most_bytes if not asked else parse_size(asked, VARIABLE)


def bound_of_description(most_bytes: int) -> int:
    """The larger of the user's bound and `most_bytes`, so that a small bound for data does not refuse the model."""
    return max(most_bytes, bound_of_file(most_bytes))


def bound_of_archive(n_packed: int) -> int:
    """Bytes that a compressed file may unpack to: the user's bound, else the larger of 1 GiB and 100 x `n_packed`."""
    return bound_of_file(max(_ARCHIVE_BYTES, _ARCHIVE_RATIO * n_packed))


def too_large(
    path: str | Path, n_bytes: int, bound: int, *, is_packed: bool = False, is_whole: bool = True
) -> InputError:
    """Return the error for a file that exceeds its bound.

    Args:
        path: the file.
        n_bytes: its size in bytes, or the number of bytes read before reading stopped.
        bound: the largest allowed number of bytes.
        is_packed: `n_bytes` counts unpacked bytes.
        is_whole: `n_bytes` is the exact size; False if the file may be larger.
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
    """Read an uncompressed file of at most `most_bytes` bytes.

    Raises:
        InputError: the file is larger.
        OSError: the file cannot be opened or read.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size > most_bytes:
            raise too_large(path, status.st_size, most_bytes)
        if stat.S_ISREG(status.st_mode) and status.st_size:
            return file.read()
        # Pipes, devices and files in /proc do not report their size.
        parts, n_read = [], 0
        while data := file.read(_CHUNK):
            parts.append(data)
            n_read += len(data)
            if n_read > most_bytes:
                raise too_large(path, n_read, most_bytes, is_whole=False)
        return b"".join(parts)


def read_description(path: Path) -> bytes:
    """Read the bytes of a record, or of a JSON file of a checkpoint, a run or a cache.

    Raises:
        InputError: the file is too large.
        OSError: the file cannot be opened or read.
    """
    return read_bounded(path, bound_of_description(DESCRIPTION_BYTES))


def load_json(path: Path) -> Any:
    """Load a JSON file of a checkpoint, a run or a cache.

    Raises:
        InputError: the file is too large or nested too deeply.
        ValueError: the file is not JSON, or not UTF-8.
        OSError: the file cannot be opened or read.
    """
    try:
        return json.loads(read_description(path))
    except RecursionError:
        raise InputError(f"{path} is nested too deeply; check that it is the right file") from None


def load_yaml(text: str, where: str | Path, loader: type[Any] = yaml.SafeLoader) -> Any:
    """Load a YAML text.

    A few nested aliases (*name) can stand for a tree that does not fit in memory once it is written out or compared.
    So the nodes of the expanded tree are counted first.

    Args:
        text: the YAML.
        where: the file that it comes from, for error messages.
        loader: the loader class.

    Raises:
        InputError: the expanded tree has too many values, or is nested too deeply.
        yaml.YAMLError: the text is not YAML.
    """
    made = loader(text)
    try:
        node = made.get_single_node()
        if node is None:
            return None
        if (n_nodes := _n_nodes(node, {}, frozenset())) > _YAML_NODES:
            shown = f"{n_nodes:,}" if n_nodes < 10**15 else "more than 10**15"
            raise InputError(
                f"{where} has {shown} values once its aliases (*name) are expanded, and the bound is "
                f"{_YAML_NODES:,}; write the values out"
            )
        return made.construct_document(node)
    except RecursionError:
        raise InputError(f"{where} is nested too deeply; check that it is the right file") from None
    finally:
        made.dispose()


def _n_nodes(node: yaml.Node, known: dict[int, int], above: frozenset[int]) -> int:
    """Number of nodes of the tree with all aliases expanded."""
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
