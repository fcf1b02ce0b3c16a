"""Data sets of coreference by name; the user gives the path of their files."""

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from longspan.data.coreference import brat, conll, gap, preco
from longspan.errors import InputError


@dataclass(frozen=True, kw_only=True)
class CoreferenceEntry:
    """One data set by name.

    Attributes:
        format: one of "conll", "brat", "gap", "preco".
        splits: that the set has.
        language: of its texts.
        description: one line.
        licence: of the data.
        path: what to give after the @.
        inside: folder of the corpus' repository that holds the files.
        endings: of the files.
        split_of_file: word in a file's path -> the split it holds, for sets whose splits are files.
        has_documents_by_split: the documents of each split are in `coreference_splits.json`.
        has_singletons: the corpus marks mentions that nothing else refers to.
        is_partial: only some mentions of a text are marked.
        faults: what is done with faults of the corpus if the user does not say.
    """

    format: str = "conll"
    splits: tuple[str, ...] = ("train", "validation", "test")
    language: str
    description: str
    licence: str
    path: str
    inside: str = ""
    endings: tuple[str, ...] = conll.ENDINGS
    split_of_file: dict[str, str] = field(default_factory=dict)
    has_documents_by_split: bool = False
    has_singletons: bool = True
    is_partial: bool = False
    faults: str = "refuse"


COREFERENCE_CATALOGUE = {
    "litbank": CoreferenceEntry(
        language="en",
        description="LitBank: the openings of 100 English novels (Bamman et al. 2020), split 0 of its ten",
        licence="CC BY 4.0",
        path="the folder of the repository or its coref/conll, or a tar of them",
        inside="coref/conll",
        has_documents_by_split=True,
    ),
    "gum": CoreferenceEntry(
        splits=("train", "validation", "test", "test2"),
        language="en",
        description="GUM: English of many genres (Zeldes 2017); test2 is GENTLE, of genres that train has not",
        licence="annotations CC BY 4.0; texts CC BY, CC BY-SA or CC BY-NC-SA by genre",
        path="the folder of the repository or its coref/gum/conll, or a tar of them",
        inside="coref/gum/conll",
        has_documents_by_split=True,
    ),
    "ontonotes": CoreferenceEntry(
        language="en",
        description="OntoNotes 5 as CoNLL-2012 has it (Pradhan et al. 2012); no singletons",
        licence="LDC's",
        path="the folder conll-2012/v4/data, or one with train, development and test files",
        endings=("gold_conll",),
        split_of_file={"train": "train", "development": "validation", "dev": "validation", "test": "test"},
        has_singletons=False,
    ),
    "preco": CoreferenceEntry(
        format="preco",
        language="en",
        description="PreCo: English school texts (Chen et al. 2018)",
        licence="for research",
        path="the folder with train.jsonl, dev.jsonl and test.jsonl, or one of the files",
        endings=preco.ENDINGS,
        split_of_file={"train": "train", "dev": "validation", "validation": "validation", "test": "test"},
    ),
    "gap": CoreferenceEntry(
        format="gap",
        language="en",
        description="GAP: a pronoun and two names in passages of Wikipedia (Webster et al. 2018); train is development",
        licence="Apache-2.0",
        path="the folder with gap-development.tsv, gap-validation.tsv and gap-test.tsv, or one of the files",
        endings=gap.ENDINGS,
        split_of_file={"development": "train", "validation": "validation", "test": "test"},
        is_partial=True,
    ),
    "openboek": CoreferenceEntry(
        splits=("test",),
        language="nl",
        description="OpenBoek: Dutch novels (van Cranenburgh and van Noord 2022), all of them as test",
        licence="CC BY 4.0",
        path="the folder of the repository or its coref, or a tar of them",
        inside="coref",
    ),
    "gerdracor": CoreferenceEntry(
        splits=("test",),
        language="de",
        description="GerDraCor-Coref: German plays (Pagel and Reiter 2020), all of them as test; singletons removed",
        licence="CC0",
        path="the folder of the .conll files, or a tar of it",
        inside="conll",
        has_singletons=False,
        faults="leave_out",
    ),
    "fr_litbank": CoreferenceEntry(
        format="brat",
        splits=("test",),
        language="fr",
        description="fr-litbank: the openings of French novels (Lattice), all of them as test",
        licence="CC BY-SA 2.0 FR",
        path="the folder of the repository or its brat/coref, or a tar of them",
        inside="brat/coref",
        endings=brat.ENDINGS,
        faults="leave_out",
    ),
}


def is_in_split(name: str, document: str, split: str) -> bool:
    """Whether a document is in a split of `litbank` or `gum`.

    LitBank's splits are the first of the ten that Bamman et al. 2020 made for cross-validation; GUM's are those of its
    file splits.md. Of GUM every document that is in no other part is in the training part, as its makers have it.

    Args:
        name: of the data set.
        document: its id, with or without the number of a part.
        split: one of the set's splits.

    Raises:
        InputError: LitBank has no document of this name.
    """
    parts = _documents_by_split()[name]
    stem = document if any(document in part for part in parts.values()) else document.rpartition("_")[0]
    found = next((one for one, documents in parts.items() if stem in documents), None)
    if found is None and "train" in parts:
        raise InputError(f"{name} has no document {document!r}, so that it is in no split; leave the split out")
    return (found or "train") == split


@cache
def _documents_by_split() -> dict[str, dict[str, frozenset[str]]]:
    text = resources.files("longspan.data").joinpath("packaged", "coreference_splits.json").read_text("utf-8")
    sets = {name: parts for name, parts in json.loads(text).items() if name != "source"}
    return {name: {one: frozenset(ids) for one, ids in parts.items()} for name, parts in sets.items()}
