"""20 Newsgroups as JSON lines: one post a line with `group`, `file` and `text`."""

import hashlib
from pathlib import Path

from longspan.data.classification.examples import LabelledDataset, LabelledText, make_labelled_dataset
from longspan.data.decoding import require_text
from longspan.data.rows import json_line_objects
from longspan.data.unpacking import ByteCounter
from longspan.errors import InputError
from longspan.records import hash_file

SPLITS = ("train", "test")
_TRAIN_PER_CENT = 60  # about the share of the split by date


def split_of_post(group: str, file: str) -> str:
    """Split of a post, "train" or "test": by SHA-256 of `group/file` modulo 100: below 60 is "train".

    The usual split is by date, and these files have no dates. Figures on the two splits are not comparable.
    """
    return SPLITS[int(hashlib.sha256(f"{group}/{file}".encode()).hexdigest(), 16) % 100 >= _TRAIN_PER_CENT]


def read_newsgroups(path: Path, *, split: str | None, name: str, language: str = "en") -> LabelledDataset:
    """The posts of a split, all posts if None; the label is the group, the id is `group/file`.

    Raises:
        InputError: the file cannot be read, or a line lacks a field, or an id comes twice.
    """
    if split not in {None, *SPLITS}:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(SPLITS)}")
    n_other = 0
    examples: list[LabelledText] = []
    for line, record in json_line_objects(path, ByteCounter()):
        where = f"{path}: line {line:,}"
        for field in ("group", "file", "text"):
            if not isinstance(record.get(field), str):
                raise InputError(
                    f"{where} has no text in {field!r}; a post has group, file and text. "
                    "Read another table by its path, without 20newsgroups"
                )
            require_text(record[field], f"{where}: {field!r}")
        group, file = record["group"], record["file"]
        if split is not None and split_of_post(group, file) != split:
            n_other += 1
            continue
        examples.append(LabelledText(f"{group}/{file}", record["text"], None, (group,), None))
    return make_labelled_dataset(
        examples,
        source=str(path),
        name=name,
        language=language,
        problem_type="single_label_classification",
        sha256={path.name: hash_file(path)},
        counts={"posts_in_other_splits": n_other},
    )
