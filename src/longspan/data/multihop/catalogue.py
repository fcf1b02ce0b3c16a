"""The multi-hop data sets longspan knows by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["paragraphs", "candidates"]


@dataclass(frozen=True, kw_only=True)
class MultihopEntry:
    """One data set by name.

    Attributes:
        kind: "paragraphs" for `load_multihop_dataset`, "candidates" for `load_wikihop_dataset`.
        description: one line.
        licence: of the data.
        source: where its files come from.
        size: questions, as its authors count them.
        files: split -> beginnings of its file's name in a folder.
        repository: on the hub; None if its files have to be given.
        config: name of the hub's configuration; None for the only one.
        language: of questions and documents.
    """

    kind: Kind = "paragraphs"
    description: str
    licence: str
    source: str
    size: str
    files: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"validation": ("dev", "validation"), "train": ("train",)}
    )
    repository: str | None = None
    config: str | None = None
    language: str = "en"

    @property
    def splits(self) -> tuple[str, ...]:
        """That the set has, the one for evaluation first."""
        return tuple(self.files)


MULTIHOP_CATALOGUE: dict[str, MultihopEntry] = {
    "hotpotqa": MultihopEntry(
        description="HotpotQA, distractor setting: two paragraphs of Wikipedia among ten (Yang et al. 2018)",
        licence="CC BY-SA 4.0",
        source="hotpotqa.github.io",
        size="90,447 questions to train on, 7,405 in validation",
        files={"validation": ("hotpot_dev_distractor",), "train": ("hotpot_train",)},
        repository="hotpotqa/hotpot_qa",
        config="distractor",
    ),
    "hotpotqa_fullwiki": MultihopEntry(
        description="HotpotQA, full wiki setting: ten paragraphs that a retriever found, maybe without the right ones",
        licence="CC BY-SA 4.0",
        source="hotpotqa.github.io",
        size="90,447 questions to train on, 7,405 in validation",
        files={"validation": ("hotpot_dev_fullwiki",), "train": ("hotpot_train",)},
        repository="hotpotqa/hotpot_qa",
        config="fullwiki",
    ),
    "2wikimultihopqa": MultihopEntry(
        description="2WikiMultihopQA: questions made from Wikidata over ten paragraphs (Ho et al. 2020)",
        licence="Apache-2.0",
        source="github.com/Alab-NII/2wikimultihop",
        size="167,454 questions to train on, 12,576 in validation",
        repository="ohjoonhee/2WikiMultihopQA",
    ),
    "musique": MultihopEntry(
        description="MuSiQue-Ans: questions of two to four hops over twenty paragraphs (Trivedi et al. 2022)",
        licence="CC BY 4.0",
        source="github.com/StonyBrookNLP/musique",
        size="19,938 questions to train on, 2,417 in validation",
        files={"validation": ("musique_ans_v1.0_dev",), "train": ("musique_ans_v1.0_train",)},
        repository="dgslibisey/MuSiQue",
    ),
    "musique_full": MultihopEntry(
        description="MuSiQue-Full: each question with its paragraphs and without one of them (Trivedi et al. 2022)",
        licence="CC BY 4.0",
        source="github.com/StonyBrookNLP/musique",
        size="39,876 questions to train on, 4,834 in validation",
        files={"validation": ("musique_full_v1.0_dev",), "train": ("musique_full_v1.0_train",)},
    ),
    "wikihop": MultihopEntry(
        kind="candidates",
        description="WikiHop of QAngaroo: which candidate completes the triple? (Welbl, Stenetorp and Riedel 2018)",
        licence="CC BY-SA 3.0",
        source="qangaroo.cs.ucl.ac.uk",
        size="43,738 questions to train on, 5,129 in validation",
        repository="community-datasets/qangaroo",
        config="wikihop",
    ),
    "medhop": MultihopEntry(
        kind="candidates",
        description="MedHop of QAngaroo: which drug does this one interact with? (Welbl, Stenetorp and Riedel 2018)",
        licence="CC BY-SA 3.0",
        source="qangaroo.cs.ucl.ac.uk",
        size="1,620 questions to train on, 342 in validation",
        repository="community-datasets/qangaroo",
        config="medhop",
    ),
}
