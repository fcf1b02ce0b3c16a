"""Tiny things that several rooms' tests start from: a tokenizer, models with random weights, a data set."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Tests never time anything, so neither does Hypothesis; the same examples every time, so that a red run is the change's
# own. HYPOTHESIS_PROFILE=explore draws new ones.
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

N_PARAGRAPHS = 12


class Mounts:
    """Mounts file systems for a test, which is skipped where that is not allowed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounted: list[Path] = []

    def __call__(self, size: str, path: Path | None = None) -> Path:
        """An empty disk of `size`, at `path`."""
        path = self._folder / "disk" if path is None else path
        path.mkdir(exist_ok=True)
        self._mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", path)
        return path

    def file(self, source: Path, path: Path) -> None:
        """Let the file `path` be `source`."""
        self._mount("--bind", source, path)

    def overlay(self, name: str) -> Path:
        """A folder `name` of the lower layer of an overlay, as those of a container's image are."""
        disk = self("1m", self._folder / "layers")
        for layer in (f"lower/{name}", "upper", "work", "merged"):
            (disk / layer).mkdir(parents=True)
        layers = f"lowerdir={disk}/lower,upperdir={disk}/upper,workdir={disk}/work"
        self._mount("-t", "overlay", "-o", layers, "overlay", disk / "merged")
        return disk / "merged" / name

    def _mount(self, *words: str | Path) -> None:
        try:
            found = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount")
        if found.returncode:
            pytest.skip(f"nothing can be mounted: {found.stderr.strip()}")
        self._mounted.append(Path(words[-1]))

    def unmount(self) -> None:
        for path in reversed(self._mounted):
            subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounts]:
    """Mounts disks for the test."""
    mounts = Mounts(tmp_path)
    try:
        yield mounts
    finally:
        mounts.unmount()


def tiny_paragraphs() -> list[dict[str, Any]]:
    """Paragraphs of invented facts with two questions each, in SQuAD's form."""
    names = ["Anna", "Boris", "Clara", "David", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Karin", "Lars"]
    towns = ["Lund", "Graz", "Oslo", "Pisa", "Bern", "Turku", "Delft", "Ghent", "Porto", "Brno", "Riga", "Split"]
    paragraphs = []
    for i in range(N_PARAGRAPHS):
        name, town, year = names[i], towns[i], str(1901 + 7 * i)
        context = f"{name} was born in {town} in {year}. Later {name} moved away, and wrote {i + 2} books about bees."
        questions = [(f"Where was {name} born?", town), (f"When was {name} born?", year)]
        answers = [[{"text": text, "answer_start": context.index(text)}] for _, text in questions]
        qas = [
            {"id": f"{i}-{k}", "question": question, "answers": answers[k]} for k, (question, _) in enumerate(questions)
        ]
        paragraphs.append({"context": context, "qas": qas})
    return paragraphs


@pytest.fixture(scope="session")
def tiny_squad(tmp_path_factory) -> Path:
    """A SQuAD 1.1 file of 12 paragraphs and 24 questions."""
    path = tmp_path_factory.mktemp("data") / "tiny.json"
    data = [{"title": "People", "paragraphs": tiny_paragraphs()}]
    path.write_text(json.dumps({"version": "1.1", "data": data}), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """A fast tokenizer framed like XLM-R's: `<s> A </s> </s> B </s>`, pieces that take the space before them."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    texts = [
        text for paragraph in tiny_paragraphs() for text in (paragraph["context"], paragraph["qas"][0]["question"])
    ]
    backend.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=200, special_tokens=[*special, "<mask>"], show_progress=False)
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
    )


@pytest.fixture(scope="session")
def tiny_qa_folder(tmp_path_factory, tiny_tokenizer) -> Callable[[str], Path]:
    """Folder of a random question answering model of 64 tokens: `tiny_qa_folder("xlm-roberta")`, made once each.

    "bert" and "xlm-roberta" have the question answering head, "xlm-roberta encoder" has none, "longformer" is
    stock transformers' of 192 tokens.
    """
    import torch
    import transformers

    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            torch.manual_seed(0)
            shape = {
                "vocab_size": 200,
                "hidden_size": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "intermediate_size": 32,
                "hidden_dropout_prob": 0.0,
                "attention_probs_dropout_prob": 0.0,
                "pad_token_id": 1,
                "bos_token_id": 0,
                "eos_token_id": 2,
            }
            if kind == "bert":
                config = transformers.BertConfig(**shape, max_position_embeddings=64)
                model = transformers.BertForQuestionAnswering(config)
            elif kind == "longformer":
                config = transformers.LongformerConfig(
                    **shape, max_position_embeddings=194, attention_window=[8, 8], sep_token_id=2, type_vocab_size=1
                )
                model = transformers.LongformerForQuestionAnswering(config)
            else:
                config = transformers.XLMRobertaConfig(**shape, max_position_embeddings=66, type_vocab_size=1)
                has_head = kind == "xlm-roberta"
                cls = transformers.XLMRobertaForQuestionAnswering if has_head else transformers.XLMRobertaModel
                model = cls(config)
            folder = tmp_path_factory.mktemp(kind.replace(" ", "-"))
            model.save_pretrained(folder)
            tiny_tokenizer.save_pretrained(folder)
            made[kind] = folder
        return made[kind]

    return make
