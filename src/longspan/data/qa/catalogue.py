"""Table of the question answering data sets with a name; each is a `QaEntry` (docs/how-to-add-a-data-set.md)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources

from longspan.data.hub import load_from_hub
from longspan.data.languages import TYDIQA_LANGUAGES, language_of_id
from longspan.data.names import name_of_file
from longspan.data.qa.concatenation import concatenate
from longspan.data.qa.examples import QaDataset
from longspan.data.qa.hub_rows import dataset_from_hub_rows
from longspan.data.qa.squad import read_squad
from longspan.data.qa.trivia_qa import trivia_qa_from_rows
from longspan.errors import InputError

# A part of a name that is a number instead of one of the entry's choices.
NUMBER = "paragraphs"


@dataclass(frozen=True, kw_only=True)
class QaEntry:
    """A data set with a name.

    Attributes:
        read: (the entry, the parts after its name, split) -> the data set.
        parts: the parts that follow the name after dots, e.g. `("language",)` for `xquad.el`; "paragraphs" is a number.
        choices: the values of the other `parts`.
        splits: the splits, the one for evaluation first.
        description: one line.
        licence: licence of the data.
        size: size in words.
        repository: repository on the hub; None for packaged data.
        config: name of the hub's configuration, with `{0}` for the first part; None if there is only one.
        revision: revision on the hub; None: the newest.
        language: language of the contexts if it is not one of the parts; otherwise the first part is.
    """

    read: Callable[["QaEntry", list[str], str], QaDataset]
    parts: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("validation",)
    description: str
    licence: str
    size: str
    repository: str | None = None
    config: str | None = None
    revision: str | None = None
    language: str = "en"

    @property
    def languages_at(self) -> list[int]:
        """Indexes of the `parts` that are languages."""
        return [i for i, part in enumerate(self.parts) if part != NUMBER]


# The hub.


def _name_of(entry: QaEntry, parts: list[str], split: str) -> str:
    short = next(key for key, value in CATALOGUE.items() if value is entry)
    return ".".join([short, *parts, *([] if split == entry.splits[0] else [split])])


def _read_hub_entry(entry: QaEntry, parts: list[str], split: str) -> QaDataset:
    assert entry.repository is not None
    name = _name_of(entry, parts, split)
    config = entry.config and entry.config.format(*parts)
    rows = load_from_hub(name, entry.repository, config, split, entry.revision)
    language = parts[0] if parts else entry.language
    return dataset_from_hub_rows(rows, source=f"{name} ({split})", name=name, language=language)


def _read_tydiqa(entry: QaEntry, parts: list[str], split: str) -> QaDataset:
    assert entry.repository is not None
    name, language = _name_of(entry, parts, split), parts[0]
    rows = load_from_hub(name, entry.repository, entry.config, split)
    return dataset_from_hub_rows(
        rows,
        source=f"{name} ({split})",
        name=name,
        language=language,
        keep=lambda identifier: language_of_id(identifier) == language,
    )


def _read_trivia_qa(entry: QaEntry, parts: list[str], split: str) -> QaDataset:
    assert entry.repository is not None
    name = _name_of(entry, parts, split)
    rows = load_from_hub(name, entry.repository, entry.config, split)
    documents = "pages" if split == "train" else "joined"
    return trivia_qa_from_rows(rows, source=f"{name} ({split})", name=name, documents=documents)


# Joined paragraphs.


def _read_long(of: str) -> Callable[[QaEntry, list[str], str], QaDataset]:
    """Return a reader that joins paragraphs of the entry `of`; the last part of the name is their number."""

    def read(entry: QaEntry, parts: list[str], split: str) -> QaDataset:
        short = CATALOGUE[of].read(CATALOGUE[of], parts[:-1], split)
        return replace(concatenate(short, int(parts[-1])), name=_name_of(entry, parts, split))

    return read


# Packaged data.


def _read_packaged_xquad(entry: QaEntry, parts: list[str], split: str) -> QaDataset:
    language = parts[0]
    is_train = split == "train"
    if is_train and language != "en":
        raise InputError("packaged/xquad has a training part in English only: packaged/xquad.en.train")
    folder = resources.files("longspan.data") / "packaged" / "xquad"
    file_name = f"xquad.{language}.train.json.gz" if is_train else f"xquad.{language}.json.gz"
    with resources.as_file(folder / file_name) as path:
        return read_squad(path, language=language, name="packaged/" + name_of_file(path))


_XQUAD_LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")

CATALOGUE: dict[str, QaEntry] = {
    "packaged/xquad": QaEntry(
        read=_read_packaged_xquad,
        parts=("language",),
        choices=_XQUAD_LANGUAGES,
        splits=("validation", "train"),
        description="excerpt of XQuAD that comes with longspan: 50 paragraphs in 12 languages, 190 in English to train",
        licence="CC BY-SA 4.0",
        size="0.4 MB, 220 questions in each language; 970 to train on (packaged/xquad.en.train)",
    ),
    "squad": QaEntry(
        read=_read_hub_entry,
        splits=("validation", "train"),
        description="SQuAD 1.1: English questions on Wikipedia paragraphs (Rajpurkar et al. 2016)",
        licence="CC BY-SA 4.0",
        size="35 MB, 87,599 questions to train on, 10,570 in validation",
        repository="rajpurkar/squad",
    ),
    "squad_v2": QaEntry(
        read=_read_hub_entry,
        splits=("validation", "train"),
        description="SQuAD 2.0: with questions that have no answer (Rajpurkar, Jia and Liang 2018)",
        licence="CC BY-SA 4.0",
        size="46 MB, 130,319 questions to train on, 11,873 in validation",
        repository="rajpurkar/squad_v2",
    ),
    "squad_long": QaEntry(
        read=_read_long("squad"),
        parts=(NUMBER,),
        splits=("validation", "train"),
        description="SQ-n: n neighbouring paragraphs of SQuAD 1.1 joined, the first question of each (Sagen 2021)",
        licence="CC BY-SA 4.0",
        size="as squad; 18,895 questions to train on, 2,067 in validation",
        repository="rajpurkar/squad",
    ),
    "xquad": QaEntry(
        read=_read_hub_entry,
        parts=("language",),
        choices=_XQUAD_LANGUAGES,
        description="XQuAD: 240 paragraphs of SQuAD translated by hand into 11 languages (Artetxe et al. 2020)",
        licence="CC BY-SA 4.0",
        size="0.6 to 2 MB and 1,190 questions a language",
        repository="google/xquad",
        config="xquad.{0}",
    ),
    "xquad_long": QaEntry(
        read=_read_long("xquad"),
        parts=("language", NUMBER),
        choices=_XQUAD_LANGUAGES,
        description="XQ-n: n neighbouring paragraphs of XQuAD joined, the first question of each (Sagen 2021)",
        licence="CC BY-SA 4.0",
        size="as xquad; 240 questions a language",
        repository="google/xquad",
    ),
    "mlqa": QaEntry(
        read=_read_hub_entry,
        parts=("context language", "question language"),
        choices=("ar", "de", "en", "es", "hi", "vi", "zh"),
        splits=("test", "validation"),
        description="MLQA: Wikipedia in 7 languages, questions in any of them (Lewis et al. 2020)",
        licence="CC BY-SA 3.0",
        size="76 MB, 504 to 1,148 questions in validation and 4,517 to 11,590 in test a pair",
        repository="facebook/mlqa",
        config="mlqa.{0}.{1}",
        # The main branch has a loading script, which `datasets` 4 does not run; this is the hub's Parquet copy.
        revision="refs/convert/parquet",
    ),
    "tydiqa": QaEntry(
        read=_read_tydiqa,
        parts=("language",),
        choices=tuple(sorted(TYDIQA_LANGUAGES.values())),
        splits=("validation", "train"),
        description="TyDi QA's gold passage task: questions written in 9 languages (Clark et al. 2020)",
        licence="Apache-2.0 (Wikipedia's text: CC BY-SA 3.0)",
        size="29 MB, 49,881 questions to train on, 5,077 in validation (113 to 921 a language)",
        repository="google-research-datasets/tydiqa",
        config="secondary_task",
    ),
    "trivia_qa": QaEntry(
        read=_read_trivia_qa,
        splits=("validation", "train"),
        description="TriviaQA on whole Wikipedia pages, answers marked by their aliases (Joshi et al. 2017)",
        licence="none stated for the questions; Wikipedia's text: CC BY-SA",
        size="gigabytes; 110,648 pages of 61,888 questions to train on, 7,993 questions in validation",
        repository="mandarjoshi/trivia_qa",
        config="rc.wikipedia",
    ),
}
