"""Folders of classes: one folder a class, one text a file, as IMDB's aclImdb/train/pos/0_9.txt."""

import hashlib
from pathlib import Path

from longspan.data.classification.examples import LabelledDataset, LabelledText, make_labelled_dataset
from longspan.data.decoding import decode, require_name
from longspan.data.names import known_split
from longspan.data.opening import COMPRESSIONS, read_bytes
from longspan.errors import InputError

_SPLIT_FOLDERS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
_TEXT_ENDINGS = tuple(".txt" + compression for compression in ("", *COMPRESSIONS))
_UNLABELLED = "unsup"  # IMDB's reviews without labels, beside pos and neg


def read_class_folders(path: Path, *, split: str | None, name: str, language: str) -> LabelledDataset:
    """The texts of a folder of class folders, or of one of its splits; classes are named as their folders.

    IMDB's folder `unsup` holds reviews without labels. It is left out, and its files are counted.

    Raises:
        InputError: there is no such split, or several and none was chosen; a file is not UTF-8 text.
    """
    folder = _folder_of_split(path, split)
    classes = _subfolders(folder)
    counts: dict[str, int] = {}
    if {"neg", "pos", _UNLABELLED} <= {one.name for one in classes}:
        unlabelled = classes.pop([one.name for one in classes].index(_UNLABELLED))
        counts["unlabelled_texts_left_out"] = sum(file.is_file() for file in unlabelled.iterdir())
    if not classes:
        raise InputError(f"{path} holds neither data files nor class folders; pass a file or a folder of class folders")
    digest = hashlib.sha256()
    examples: list[LabelledText] = []
    for one in classes:
        for file in sorted(one.iterdir()):
            if file.name.startswith("."):
                continue
            require_name(file)
            if not file.is_file() or not file.name.lower().endswith(_TEXT_ENDINGS):
                raise InputError(f"{file} is not a text file (.txt); a class folder holds nothing else")
            data = read_bytes(file)
            identifier = f"{one.name}/{file.name}"
            digest.update(f"{hashlib.sha256(data).hexdigest()}  {identifier}\n".encode())
            examples.append(LabelledText(identifier, decode(file, data), None, (one.name,), None, identifier))
    return make_labelled_dataset(
        examples,
        source=str(folder),
        name=name,
        language=language,
        problem_type="single_label_classification",
        sha256={f"{folder.name} (all files)": digest.hexdigest()},
        declared=[one.name for one in classes],
        counts=counts,
    )


def _subfolders(path: Path) -> list[Path]:
    return sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))


def _folder_of_split(path: Path, split: str | None) -> Path:
    found = {one: path / name for one, names in _SPLIT_FOLDERS.items() for name in names if (path / name).is_dir()}
    if not found:  # the folder of a split itself, or one without splits
        if split is not None and path.name not in _SPLIT_FOLDERS.get(split, ()):
            raise InputError(f"{path} has no split {split!r}: it has no folder of that name; leave the split out")
        return path
    if split is None:
        raise InputError(f"{path} has the splits {', '.join(found)}; say which one to read (split)")
    return found[known_split(str(path), split, tuple(found))]
