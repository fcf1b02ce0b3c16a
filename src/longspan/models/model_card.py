"""The warning of a model card about differences from stock transformers."""

import logging
import os
import re
from pathlib import Path

import transformers

from longspan.files import replace_file
from longspan.limits import read_description
from longspan.models.config import stock_differences

logger = logging.getLogger(__name__)

_START, _END = "<!-- longspan: stock transformers -->", "<!-- longspan: end -->"
_SECTION = re.compile(re.escape(_START) + ".*?" + re.escape(_END) + "\n*", re.DOTALL)
_FRONT_MATTER = re.compile(r"\A---\r?\n.*?\r?\n---[ \t]*\r?\n", re.DOTALL)


def stock_warning(config: transformers.LongformerConfig) -> str:
    """The differences of stock transformers with this configuration as Markdown; empty if there are none."""
    differences = stock_differences(config)
    if not differences:
        return ""
    lines = "\n".join(f"> - {line}" for line in differences)
    return (
        f"{_START}\n> **Load this model with longspan.** Stock transformers loads it too, but computes something "
        f"else:\n>\n{lines}\n{_END}\n"
    )


def separator_warning(class_name: str, tokenizer: transformers.PreTrainedTokenizerBase | None) -> str:
    """A sentence on what stock transformers needs for pairs of this tokenizer; empty where nothing.

    Its heads that find a question's tokens by themselves count three separators in each row, as RoBERTa's pairs have.
    """
    if not class_name.endswith(("ForQuestionAnswering", "ForMultipleChoice")) or tokenizer is None:
        return ""
    n_separators = list(tokenizer("a", "a")["input_ids"]).count(tokenizer.sep_token_id)
    if n_separators == 3:
        return ""
    return (
        f"**In stock transformers, give it a `global_attention_mask`** (1 at the tokens before the first separator): "
        f"without one `transformers.{class_name}` needs three separators in each row, this tokenizer puts "
        f"{n_separators}, and the call fails. longspan marks these tokens by itself, however many separators there are."
    )


def note_stock_differences(folder: str | os.PathLike, config: transformers.LongformerConfig) -> None:
    """Update the warning in the model card (`README.md` in `folder`), and log it.

    The rest of an existing card is kept. Without a card, one is made only if there is a warning.
    """
    card = Path(folder) / "README.md"
    warning = stock_warning(config)
    old = read_description(card).decode("utf-8") if card.exists() else ""
    if warning:
        for line in stock_differences(config):
            logger.warning("%s: %s", folder, line)
        if not old:
            old = "---\nlibrary_name: transformers\ntags:\n- longspan\n---\n"
    text = _SECTION.sub("", old)
    front = _FRONT_MATTER.match(text)
    at = front.end() if front else 0
    new = text[:at] + (f"\n{warning}\n{text[at:].lstrip()}" if warning else text[at:])
    if new != old or (warning and not card.exists()):
        with replace_file(card) as temporary:
            temporary.write_text(new, encoding="utf-8")
