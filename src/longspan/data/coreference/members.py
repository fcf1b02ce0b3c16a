"""The files of a corpus: one file, all files of a folder, or all members of a tar."""

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from longspan.data.decoding import require_name
from longspan.data.opening import COMPRESSIONS, read_bytes
from longspan.data.unpacking import CHUNK, ByteCounter, open_stream
from longspan.errors import InputError
from longspan.limits import DATA_BYTES, bound_of_file, too_large
from longspan.records import hash_file

_TAR_ENDINGS = (".tar", ".tgz", ".txz", ".tbz2", *(".tar" + ending for ending in COMPRESSIONS))


@dataclass(frozen=True)
class Member:
    """One file.

    Attributes:
        path: within the folder or tar, with `/`; the file's name if it was given itself.
        where: what errors call it.
        data: its bytes, decompressed.
    """

    path: str
    where: str
    data: bytes


def is_tar(path: Path) -> bool:
    """Whether a name is that of a tar, compressed or not."""
    return path.name.lower().endswith(_TAR_ENDINGS)


def without_compression(path: str) -> str:
    """A path without the ending of a compression."""
    for ending in COMPRESSIONS:
        path = path.removesuffix(ending)
    return path


def read_members(path: Path, endings: tuple[str, ...], *, inside: str = "") -> tuple[list[Member], dict[str, str]]:
    """The files whose names end in one of `endings`, sorted by path, and the hash of what was read.

    Files of other names, such as a licence, are not read; those of hidden folders and names neither.

    Args:
        path: a file, taken whatever its name is, or a folder or tar, searched in depth.
        endings: of the names, in small letters, without that of a compression.
        inside: folder within `path` that holds the data, if there is one of this name; a corpus comes with others.

    Returns:
        The files, and name -> SHA-256 of the file, or of the list of hashes of a folder's files.

    Raises:
        InputError: nothing is found, or something cannot be read.
    """
    if path.is_dir():
        members = [_read_file(one, one.relative_to(path).as_posix()) for one in _files(path, endings, inside)]
        digest = hashlib.sha256()
        for one in members:
            digest.update(f"{hashlib.sha256(one.data).hexdigest()}  {one.path}\n".encode())
        sha256 = {f"{path.name} (all files)": digest.hexdigest()}
    elif is_tar(path):
        members, sha256 = _read_tar(path, endings, inside), {path.name: hash_file(path)}
    else:
        members, sha256 = [_read_file(path, path.name)], {path.name: hash_file(path)}
    if not members:
        raise InputError(
            f"{path} holds no file that ends in {' or '.join(endings)}; pass the data's own file or folder"
        )
    return members, sha256


def paths_of_members(path: Path) -> list[str]:
    """The paths of all files of a folder or tar, but of hidden ones; the name of a file.

    Raises:
        InputError: a tar cannot be read.
    """
    if path.is_dir():
        return [one.relative_to(path).as_posix() for one in _files(path, ("",), "")]
    return [one for one, _ in _tar_files(path, ("",))] if is_tar(path) else [path.name]


def _has_ending(name: str, endings: tuple[str, ...]) -> bool:
    return name.lower().endswith(tuple(one + packed for one in endings for packed in ("", *COMPRESSIONS)))


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") and part != "." for part in path.split("/"))


def _inside(paths: list[str], inside: str) -> list[str]:
    """The paths with the folder `inside` in them, all if none has it."""
    return [one for one in paths if f"/{inside}/" in f"/{one}"] or paths if inside else paths


def _files(folder: Path, endings: tuple[str, ...], inside: str) -> list[Path]:
    found: list[str] = []
    for one in folder.rglob("*"):
        name = one.relative_to(folder).as_posix()
        if not _is_hidden(name) and _has_ending(name, endings) and one.is_file():
            require_name(one)
            found.append(name)
    return [folder / one for one in _inside(sorted(found), inside)]


def _read_file(path: Path, name: str) -> Member:
    return Member(name, str(path), read_bytes(path))


def _read_tar(path: Path, endings: tuple[str, ...], inside: str) -> list[Member]:
    found: dict[str, bytes] = {}
    bound = bound_of_file(DATA_BYTES)
    n_bytes = 0
    for name, file in _tar_files(path, endings):
        found[name] = b"".join(iter(lambda file=file: file.read(CHUNK), b""))
        n_bytes += len(found[name])
        if n_bytes > bound:
            raise too_large(path, n_bytes, bound, is_packed=True, is_whole=False)
    return [Member(one, f"{path}: {one}", found[one]) for one in _inside(sorted(found), inside)]


def _tar_files(path: Path, endings: tuple[str, ...]) -> Iterator[tuple[str, IO[bytes]]]:
    """The paths of a tar's files with their bytes, which can be read until the next one is asked for."""
    with open_stream(path, ByteCounter()) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for one in tar:
                    name = one.name.removeprefix("./")
                    file = tar.extractfile(one) if one.isfile() else None
                    if file is not None and not _is_hidden(name) and name.lower().endswith(endings):
                        yield name, file
        except (tarfile.TarError, EOFError) as error:
            raise InputError(f"{path} cannot be read as a tar ({error}); fetch it again") from error
