"""Hyperpartisan news (SemEval-2019 task 4): articles in one XML file, their labels in another."""

import json
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

from longspan.data.classification.examples import LabelledDataset, LabelledText, make_labelled_dataset
from longspan.data.opening import COMPRESSIONS, read_bytes
from longspan.errors import InputError
from longspan.records import hash_file

SPLITS = ("train", "validation", "test")
_ARTICLES, _TRUTH = "articles-", "ground-truth-"
_LABELS = ("false", "true")


def is_hyperpartisan(path: Path) -> bool:
    """Whether a path is a file of articles, or a folder that holds one."""
    if path.is_dir():
        return any(_is_articles(file) for file in path.iterdir())
    return _is_articles(path)


def _is_articles(path: Path) -> bool:
    return path.name.startswith(_ARTICLES) and path.name.endswith(
        tuple(".xml" + ending for ending in ("", *COMPRESSIONS))
    )


def ids_of_split(split: str, *, released: bool = False) -> frozenset[int]:
    """The numbers of the articles in a split of the 645.

    Beltagy et al. 2020 released the ids of their 80/10/10 split (`hyperpartisan_splits.json` names the source). Its
    parts overlap: 51 of the 65 test articles are in its training part, 7 in its validation part, and 58 articles are
    in none. By default the test part is kept as released, its articles are taken out of the other two, and the 58
    articles are added to the training part: 523, 57 and 65 articles.

    Args:
        split: "train", "validation" or "test".
        released: give the parts as released, with their overlaps: 516, 64 and 65 articles.
    """
    text = resources.files("longspan.data").joinpath("packaged", "hyperpartisan_splits.json").read_text("utf-8")
    parts = {one: frozenset(json.loads(text)[one]) for one in SPLITS}
    if released or split == "test":
        return parts[split]
    validation = parts["validation"] - parts["test"]
    return validation if split == "validation" else frozenset(range(645)) - parts["test"] - validation


def read_hyperpartisan(
    path: Path, *, split: str | None, name: str, language: str = "en", released: bool = False
) -> LabelledDataset:
    """The articles of a file with the labels of the ground truth file beside it; labels are "true" and "false".

    The text is all text of the article without its title, as in the paper; its markup is left out.

    Args:
        path: the file `articles-*.xml`, compressed or not, or the folder with it.
        split: "train", "validation" or "test" of `ids_of_split`; all articles if None.
        name: as in tables.
        language: of the articles.
        released: as in `ids_of_split`.

    Raises:
        InputError: a file is missing or malformed, an article has no label or a label no article, or the file does
            not hold the articles that the split names.
    """
    articles_file = _only(path, _ARTICLES) if path.is_dir() else path
    stem = articles_file.name.removeprefix(_ARTICLES).partition(".xml")[0]
    truth_file = _only(articles_file.parent, _TRUTH + stem)
    articles, truth = _articles(articles_file), _articles(truth_file)
    for here, there, file in ((articles, truth, truth_file), (truth, articles, articles_file)):
        missing = sorted(here.keys() - there.keys())
        if missing:
            raise InputError(
                f"{file} lacks {len(missing):,} of the articles of the file beside it, for instance {missing[0]!r}; "
                "articles and ground truth must be of the same release"
            )
    wanted = sorted(articles)
    if split is not None:
        if split not in SPLITS:
            raise InputError(f"{name} has no split {split!r}; it has {', '.join(SPLITS)}")
        number = {int(identifier): identifier for identifier in articles if identifier.isdecimal()}
        asked = ids_of_split(split, released=released)
        if not asked <= number.keys() or len(articles) != 645:
            raise InputError(
                f"{articles_file} holds {len(articles):,} articles; the split is of the 645 articles of "
                "articles-training-byarticle-20181122.xml. Pass that file, or leave the split out"
            )
        wanted = [number[i] for i in sorted(asked)]
    examples = []
    for identifier in wanted:
        label = truth[identifier].get("hyperpartisan")
        if label not in _LABELS:
            raise InputError(f"{truth_file}: article {identifier!r} has hyperpartisan={label!r}, not true or false")
        text = "".join(articles[identifier].itertext()).strip()
        examples.append(LabelledText(identifier, text, None, (label,), None, f"article {identifier!r}"))
    counts = {"articles_in_other_splits": len(articles) - len(wanted)}
    if released and split is not None:
        others = frozenset().union(*(ids_of_split(one, released=True) for one in SPLITS if one != split))
        counts["texts_also_in_other_splits"] = len(ids_of_split(split, released=True) & others)
    return make_labelled_dataset(
        examples,
        source=str(articles_file),
        name=name,
        language=language,
        problem_type="single_label_classification",
        sha256={file.name: hash_file(file) for file in (articles_file, truth_file)},
        declared=_LABELS,
        counts=counts,
    )


def _only(folder: Path, start: str) -> Path:
    endings = tuple(".xml" + ending for ending in ("", *COMPRESSIONS))
    found = sorted(one for one in folder.iterdir() if one.name.startswith(start) and one.name.endswith(endings))
    if len(found) != 1:
        names = ", ".join(one.name for one in found) or "none"
        raise InputError(f"{folder} must hold one file {start}*.xml; it holds {names}")
    return found[0]


def _articles(path: Path) -> dict[str, ElementTree.Element]:
    """The elements <article> of a file by their ids."""
    data = read_bytes(path)
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: malformed XML: {error}; fetch the file again") from error
    except (LookupError, ValueError) as error:  # its first line names an encoding that Python does not know or read
        raise InputError(f"{path}: its XML cannot be decoded ({error}); save the file as UTF-8") from error
    found: dict[str, ElementTree.Element] = {}
    for n, article in enumerate(root.iter("article"), 1):
        identifier = article.get("id")
        if identifier is None:
            raise InputError(f"{path}: article {n:,} has no id")
        if identifier in found:
            raise InputError(f"{path}: the id {identifier!r} comes twice")
        found[identifier] = article
    return found
