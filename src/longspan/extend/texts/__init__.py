"""The text that drift is measured on where the user gives none: six languages, four scripts (see README.md here)."""

from importlib import resources


def packaged_texts() -> list[str]:
    """The packaged texts, English first, then by language code; each of more than 600 tokens in XLM-R's pieces."""
    folder = resources.files(__name__)
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".txt"))
    names.sort(key=lambda name: name != "en.txt")
    return [(folder / name).read_text(encoding="utf-8") for name in names]
