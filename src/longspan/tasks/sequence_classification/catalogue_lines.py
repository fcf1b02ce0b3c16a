"""What `longspan ls datasets` and `longspan check DATA` say of labelled texts."""

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING

from longspan.data.classification import CLASSIFICATION_CATALOGUE
from longspan.tasks.task import ListedData

if TYPE_CHECKING:
    from longspan.data.classification import LabelledDataset

_MOST_LABELS = 30  # that are listed one by one


def listed_texts() -> list[ListedData]:
    """Return the data sets of labelled texts by name, then the formats that files and the hub may have."""
    rows = [
        ListedData(
            name=f"{name}.<split>@PATH",
            where="file",
            languages=entry.language,
            splits=", ".join(entry.splits),
            licence=entry.licence,
            description=entry.description,
        )
        for name, entry in CLASSIFICATION_CATALOGUE.items()
    ]
    columns = "with columns of texts and labels"
    return [
        *rows,
        ListedData("FILE", "file", "any", description=f".csv, .tsv, .jsonl, .json or .parquet {columns}"),
        ListedData("FOLDER", "file", "any", description="a folder of text files for each class, as IMDB has"),
        ListedData("OWNER/NAME[:CONFIGURATION]", "hub", "any", "any", description=columns),
    ]


def lines_about(dataset: "LabelledDataset") -> list[tuple[str, str]]:
    """Return the kind of labels, how many texts have each, and the lengths of the texts."""
    lengths = [len(example.text) for example in dataset.examples]
    lines = [
        ("labels", dataset.problem_type.replace("_", " ")),
        ("texts", f"{min(lengths):,} to {max(lengths):,} characters, median {median(lengths):,.0f}"),
    ]
    n_of_label = Counter(label for example in dataset.examples for label in example.labels)
    for label in dataset.label_names[:_MOST_LABELS]:
        lines.append(("label", f"{label}: {n_of_label[label]:,}"))
    if (n_more := len(dataset.label_names) - _MOST_LABELS) > 0:
        lines.append(("label", f"and {n_more:,} more"))
    return lines
