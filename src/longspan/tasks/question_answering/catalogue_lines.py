"""What `longspan ls datasets` and `longspan check DATA` say of questions."""

from longspan.data.qa import CATALOGUE, QaDataset
from longspan.data.qa.needle import needle_languages
from longspan.tasks.task import ListedData


def listed_questions() -> list[ListedData]:
    """Return the data sets of questions by name, then the formats that files and the hub may have."""
    rows = [
        ListedData(
            name=".".join([name, *(f"<{part}>" for part in entry.parts)]),
            where="hub or file" if entry.repository else "with longspan",
            languages=" ".join(entry.choices) or entry.language,
            splits=", ".join(entry.splits),
            licence=entry.licence,
            size=entry.size,
            description=entry.description,
        )
        for name, entry in CATALOGUE.items()
    ]
    needles = "made-up facts in real text (`evaluate` alone)"
    files = "SQuAD's format, a question a line, TriviaQA's release"
    return [
        *rows,
        ListedData("needle", "made", " ".join(needle_languages()), description=needles),
        ListedData("FILE, FOLDER", "file", "any", description=files),
        ListedData("OWNER/NAME[:CONFIGURATION]", "hub", "any", "any", description="with SQuAD's columns"),
    ]


def lines_about(dataset: QaDataset) -> list[tuple[str, str]]:
    """Return the lengths of the documents, and the ids of all questions whose answers are not in their document."""
    lines = []
    lengths = sorted(len(example.context) for example in dataset.examples)
    if lengths:
        median = lengths[len(lengths) // 2]
        lines.append(("documents", f"{lengths[0]:,} to {lengths[-1]:,} characters, median {median:,}"))
    if dataset.unlocatable_ids:
        lines.append(("note", f"answers that are not in their document: {', '.join(dataset.unlocatable_ids)}"))
    return lines
