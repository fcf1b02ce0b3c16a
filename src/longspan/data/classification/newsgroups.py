"""20 Newsgroups as JSON lines: one post a line with `group`, `file` and `text`."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

from longspan.data.classification.examples import (
    LabelledDataset,
    LabelledText,
    make_labelled_dataset,
    require_unique_ids,
)
from longspan.data.decoding import require_text
from longspan.data.rows import json_line_objects
from longspan.data.unpacking import ByteCounter
from longspan.errors import InputError
from longspan.records import hash_file

SPLITS = ("train", "test")
_TRAIN_PER_CENT = 60  # about the share of the split by date
_SEED = 0


def train_ids(posts: Sequence[LabelledText]) -> frozenset[str]:
    """Return the ids of the posts in the split "train": 60 per cent of each group, rounded.

    Posts with the same text, white space aside, are on the same side. They are sorted by the SHA-256 of the seed 0 and
    the first of their ids (`0 group/file`). Each group takes posts in this order until it has its share. Texts that
    were posted to several groups are decided first, by the same hash modulo 100: below 60 is "train". The split
    depends on the posts, not on their order.

    The usual split is by date, and these files have no dates. Figures on the two splits are not comparable.

    Args:
        posts: all of them; the label is the group.
    """
    size = Counter(post.labels[0] for post in posts)
    share = {group: (n * _TRAIN_PER_CENT + 50) // 100 for group, n in size.items()}
    of_text: dict[str, list[LabelledText]] = defaultdict(list)
    for post in posts:
        of_text[" ".join(post.text.split())].append(post)
    hashed = sorted(((_hash(same), same) for same in of_text.values()), key=itemgetter(0))
    taken: list[LabelledText] = []
    n_taken: Counter[str] = Counter()
    for several in (True, False):  # texts of several groups first: the other texts make up for them
        for number, same in hashed:
            groups = Counter(post.labels[0] for post in same)
            if (len(groups) > 1) is not several:
                continue
            group = same[0].labels[0]
            if number % 100 < _TRAIN_PER_CENT if several else n_taken[group] + len(same) <= share[group]:
                taken += same
                n_taken += groups
    return frozenset(post.id for post in taken)


def _hash(same: Sequence[LabelledText]) -> int:
    return int(hashlib.sha256(f"{_SEED} {min(post.id for post in same)}".encode()).hexdigest(), 16)


def read_newsgroups(path: Path, *, split: str | None, name: str, language: str = "en") -> LabelledDataset:
    """The posts of a split (see `train_ids`), all posts if None; the label is the group, the id is `group/file`.

    Raises:
        InputError: the file cannot be read, or a line lacks a field, or an id comes twice.
    """
    if split not in {None, *SPLITS}:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(SPLITS)}")
    posts: list[LabelledText] = []
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
        posts.append(LabelledText(f"{group}/{file}", record["text"], None, (group,), None, f"line {line:,}"))
    require_unique_ids(posts, str(path))
    train = frozenset() if split is None else train_ids(posts)
    examples = [post for post in posts if split is None or (post.id in train) == (split == "train")]
    return make_labelled_dataset(
        examples,
        source=str(path),
        name=name,
        language=language,
        problem_type="single_label_classification",
        sha256={path.name: hash_file(path)},
        counts={"posts_in_other_splits": len(posts) - len(examples)},
    )
