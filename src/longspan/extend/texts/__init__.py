"""The default texts for measuring drift: six languages, four scripts (README.md in this folder)."""

from importlib import resources


def packaged_texts() -> list[str]:
    """The packaged texts, English first, then by language code; each has more than 600 tokens of XLM-R's vocabulary."""
    folder = resources.files(__name__)
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".txt"))
    names.sort(key=lambda name: name != "en.txt")
    return [(folder / name).read_text(encoding="utf-8") for name in names]
