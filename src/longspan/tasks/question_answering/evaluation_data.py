"""The questions that `longspan evaluate` asks: data sets read, joined and cut, and needles made."""

import argparse
import os
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from longspan.errors import InputError
from longspan.number_options import at_least, between

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from longspan.data.qa import QaDataset
    from longspan.data.qa.distractors import Distractors

DISTRACTORS: dict[str, "Distractors"] = {
    "same": "same article",
    "others": "other articles",
    "neighbours": "neighbours",
}
NEEDLE = "needle"
"""Name of the data set that is made up, not read."""
_OF_JOINING = ("separator", "all_questions", "gold_slot", "distractors", "shuffle_seed")
_OF_NEEDLES = ("texts", "repeat_texts", "needle_tokens", "needle_depths", "needles", "needle_seed")
QUESTION_OPTIONS = ("n_concat", *_OF_JOINING, *_OF_NEEDLES)

_NEEDLE_TOKENS = (1024, 2048, 4096, 8192, 16384)
_NEEDLE_DEPTHS = tuple(i / 10 for i in range(11))
_NEEDLES = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `longspan evaluate` that only question answering has."""
    parser.add_argument(
        "--n_concat",
        type=int,
        action=at_least(1),
        nargs="+",
        metavar="N",
        help="number of paragraphs to join; with several numbers, one data set each",
    )
    parser.add_argument("--separator", default="", help="between joined paragraphs")
    parser.add_argument("--all_questions", action="store_true", help="of joined paragraphs, not only each one's first")
    parser.add_argument(
        "--gold_slot",
        type=_slot,
        metavar="SLOT",
        help="which joined paragraph holds the answer, from 0; all: each once",
    )
    parser.add_argument(
        "--distractors",
        choices=sorted(DISTRACTORS),
        help="paragraphs joined to a question's own: of the same article, of others, or its neighbours (the default)",
    )
    parser.add_argument("--shuffle_seed", type=int, help="shuffle which paragraphs are joined; seed of distractors")
    parser.add_argument(
        "--texts", type=Path, nargs="+", metavar="FILE", help="to put needles in; packaged ones if none"
    )
    parser.add_argument("--repeat_texts", action="store_true", help="until they are as long as needles are wanted")
    parser.add_argument(
        "--needle_tokens",
        type=int,
        action=at_least(1),
        nargs="+",
        metavar="N",
        help="lengths; 1024 2048 4096 8192 16384",
    )
    parser.add_argument(
        "--needle_depths", type=float, action=between(0, 1), nargs="+", metavar="DEPTH", help="0 to 1; 0 0.1 0.2 ... 1"
    )
    parser.add_argument("--needles", type=int, action=at_least(1), metavar="N", help="at each depth; 5")
    parser.add_argument("--needle_seed", type=int, help="of their names, numbers and places; 0")
    parser.add_argument("--max_answer_tokens", type=int, action=at_least(1), default=30, help="longest answer")


class Questions:
    """The questions of a command line: data sets are read at once, needles are made later with a tokenizer."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._datasets = read_datasets(arguments)
        self._texts = read_needle_texts(arguments)
        self.name = name_of_questions(arguments)
        self.protocol = protocol_of_questions(arguments)
        self.settings = settings_of_questions(arguments)

    def datasets(self, tokenizer: "PreTrainedTokenizerBase") -> list["QaDataset"]:
        """Return the data sets."""
        return [*self._datasets, *make_needle_datasets(self._arguments, self._texts, tokenizer)]


def settings_of_questions(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the options that say which questions are asked, for the record."""
    found = {name: getattr(arguments, name) for name in QUESTION_OPTIONS if is_given(getattr(arguments, name))}
    if arguments.n_concat is not None and len(arguments.n_concat) == 1:
        found["n_concat"] = arguments.n_concat[0]
    if "texts" in found:
        found["texts"] = [str(path) for path in arguments.texts]
    return found


def _slot(word: str) -> int | str:
    """Return a slot as it is typed."""
    return word if word == "all" else int(word)


def is_given(value: object) -> bool:
    """Whether an option is set; 0 counts as set."""
    return value is not None and value is not False and value != ""


def check_questions(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together, before anything is read.

    Raises:
        InputError: an option without the data that it applies to, or needles without languages.
    """
    for name in _OF_JOINING:
        if arguments.n_concat is None and is_given(getattr(arguments, name)):
            raise InputError(f"--{name} is of no effect without --n_concat; set --n_concat or leave it out")
    for n in arguments.n_concat or ():
        if isinstance(arguments.gold_slot, int) and not 0 <= arguments.gold_slot < max(n, 1):
            raise InputError(
                f"--gold_slot is {arguments.gold_slot}; with {n} paragraphs joined it is between 0 and {n - 1}, or all"
            )
    has_needles = NEEDLE in arguments.data
    for name in _OF_NEEDLES:
        if not has_needles and is_given(getattr(arguments, name)):
            raise InputError(f"--{name} is of no effect without needles; add `needle` to --data or leave it out")
    if not has_needles:
        return
    from longspan.data.qa.needle import needle_languages

    unknown = [language for language in arguments.languages or () if language not in needle_languages()]
    if arguments.languages is None or unknown:
        told = f"there are no needles in {', '.join(unknown)}" if unknown else "needles need --languages"
        raise InputError(f"{told}; there are some in {', '.join(needle_languages())}")
    if arguments.n_concat is not None and arguments.data == [NEEDLE]:
        raise InputError("--n_concat is of no effect on needles; --needle_tokens says how long their documents are")


def read_datasets(arguments: argparse.Namespace) -> list["QaDataset"]:
    """Read every requested data set except the needles, joined and cut as requested."""
    from longspan.data.qa import concatenate, load_qa_dataset

    datasets = []
    for name, language in _names([name for name in arguments.data if name != NEEDLE], arguments.languages):
        dataset = load_qa_dataset(name, language=language)
        if arguments.n_concat is None:
            datasets.append(_chosen(dataset, arguments))
            continue
        for n in dict.fromkeys(arguments.n_concat):
            datasets.append(
                concatenate(
                    dataset,
                    n,
                    separator=arguments.separator,
                    seed=arguments.shuffle_seed,
                    gold_slot=arguments.gold_slot,
                    first_question_only=not arguments.all_questions,
                    distractors=DISTRACTORS[arguments.distractors or "neighbours"],
                    choose=partial(_numbers, arguments),
                )
            )
    return datasets


def read_needle_texts(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """The texts to insert needles into, by language; empty without needles."""
    from longspan.data import load_text

    if NEEDLE not in arguments.data:
        return {}
    languages = list(dict.fromkeys(arguments.languages))
    if arguments.texts is None:
        return {language: [_packaged_text(language)] for language in languages}
    texts: dict[str, list[str]] = {language: [] for language in languages}
    for path in arguments.texts:
        told = _languages_told(path) & set(languages) if len(texts) > 1 else set(languages)
        if len(told) != 1:
            raise InputError(
                f"{path}: its name does not tell which of {', '.join(languages)} it is in; call it like "
                f"novel.{languages[0]}.txt, or put it in a folder {languages[0]}"
            )
        texts[told.pop()].append(load_text(path))
    lacking = [language for language, found in texts.items() if not found]
    if lacking:
        raise InputError(f"--texts has none in {', '.join(lacking)}; add some, or leave these languages out")
    return texts


def _languages_told(path: Path) -> set[str]:
    """Parts of a file's name that may be a language's code, and the name of its folder."""
    return {*re.split(r"[._-]", path.name), path.absolute().parent.name}


def make_needle_datasets(
    arguments: argparse.Namespace, texts: Mapping[str, Sequence[str]], tokenizer: "PreTrainedTokenizerBase"
) -> list["QaDataset"]:
    """Needles in `texts`, one data set for each language and length; `tokenizer` counts."""
    from longspan.data.qa.needle import make_needles

    return [
        _chosen(
            make_needles(
                own,
                language,
                n_tokens=n_tokens,
                depths=arguments.needle_depths or _NEEDLE_DEPTHS,
                tokenizer=tokenizer,
                seed=arguments.needle_seed or 0,
                per_depth=_NEEDLES if arguments.needles is None else arguments.needles,
                repeat=arguments.repeat_texts,
            ),
            arguments,
        )
        for language, own in texts.items()
        for n_tokens in dict.fromkeys(arguments.needle_tokens or _NEEDLE_TOKENS)
    ]


def name_of_questions(arguments: argparse.Namespace) -> str:
    """The default name of the evaluation."""
    name = ", ".join(Path(data).name if os.path.exists(data) else data for data in arguments.data)
    if arguments.n_concat is None:
        return name
    return f"{name}, {_listed(arguments.n_concat)} paragraphs joined"


def protocol_of_questions(arguments: argparse.Namespace) -> str:
    """A description of how the questions were made and are answered."""
    parts = []
    if arguments.n_concat is not None:
        questions = "every question" if arguments.all_questions else "the first question of each paragraph"
        parts.append(f"{questions}, {_listed(arguments.n_concat)} paragraphs joined to one document")
        if arguments.gold_slot == "all":
            parts.append("each question asked with its paragraph at every place")
        elif arguments.gold_slot is not None:
            parts.append(f"the answer in paragraph {arguments.gold_slot + 1}")
        source = DISTRACTORS[arguments.distractors or "neighbours"]
        if source != "neighbours":
            parts.append(
                f"the other paragraphs from {'the' if source == 'same article' else ''} {source}".replace("  ", " ")
            )
        if arguments.shuffle_seed is not None:
            parts.append(f"paragraphs shuffled (seed {arguments.shuffle_seed})")
    if NEEDLE in arguments.data:
        depths = arguments.needle_depths or _NEEDLE_DEPTHS
        parts.append(
            f"needles: a made-up fact in documents of {_listed(arguments.needle_tokens or _NEEDLE_TOKENS)} tokens, "
            f"{_NEEDLES if arguments.needles is None else arguments.needles} at each of {len(depths)} depths"
        )
    if arguments.limit is not None:
        parts.append(f"only the first {arguments.limit} questions of each data set")
    if arguments.sample is not None:
        parts.append(f"only {arguments.sample} questions of each data set, drawn at random")
    parts.append(f"best span of at most {arguments.max_answer_tokens} tokens over all windows")
    return "; ".join(parts)


def _listed(numbers: Sequence[int]) -> str:
    *first, last = [str(number) for number in dict.fromkeys(numbers)]
    return f"{', '.join(first)} and {last}" if first else last


def _chosen(dataset: "QaDataset", arguments: argparse.Namespace) -> "QaDataset":
    """The questions that --limit or --sample keep."""
    return replace(dataset, examples=[dataset.examples[i] for i in _numbers(arguments, len(dataset.examples))])


def _numbers(arguments: argparse.Namespace, n_questions: int) -> Sequence[int]:
    """The numbers of the questions that --limit or --sample keep.

    A sample has the same questions at every number of paragraphs, and in every language of a parallel data set.
    """
    if arguments.limit is not None:
        return range(n_questions)[: arguments.limit]
    if arguments.sample is not None:
        return sorted(random.Random(0).sample(range(n_questions), min(arguments.sample, n_questions)))
    return range(n_questions)


def _names(names: Sequence[str], languages: Sequence[str] | None) -> list[tuple[str, str | None]]:
    """Names completed by their languages: `xquad` with en and el gives `xquad.en`, `xquad.el`; folders by file."""
    from longspan.data.qa import expand_name

    result: list[tuple[str, str | None]] = []
    for index, name in enumerate(names):
        expanded = expand_name(name, languages)
        if expanded != [(name, None)]:
            result += expanded
        elif languages is None:
            result.append((name, None))
        elif len(languages) == len(names):
            result.append((name, languages[index]))
        else:
            raise InputError(
                f"--languages has {len(languages)} codes for {len(names)} data sets; {name} needs none, or one for "
                "each data set in the same order"
            )
    return result


def _packaged_text(language: str) -> str:
    """XQuAD's paragraphs one after another, or the beginning of a novel in a language that XQuAD lacks."""
    from importlib import resources

    from longspan.data.qa import CATALOGUE, load_qa_dataset

    if language in CATALOGUE["packaged/xquad"].choices:
        examples = load_qa_dataset(f"packaged/xquad.{language}").examples
        return "\n\n".join(dict.fromkeys(example.context for example in examples))
    path = resources.files("longspan.extend.texts") / f"{language}.txt"
    if not path.is_file():
        raise InputError(f"there is no packaged text in {language!r} to put needles in; give some with --texts")
    return path.read_text(encoding="utf-8")
