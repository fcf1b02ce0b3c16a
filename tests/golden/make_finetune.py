"""Golden losses of fine-tuning: `python tests/golden/make_finetune.py` writes finetune_tiny.txt again.

The loss of 20 steps through the whole room `training`: recipe, extension of a tiny XLM-R, joined paragraphs, windows,
collator, Trainer. A change of a value needs a line in CHANGELOG.md with the reason.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import models, pre_tokenizers, processors

from longspan.training.finetune.finetune import finetune
from longspan.training.recipe.files import load_recipe

sys.path.insert(0, str(Path(__file__).parent))
import golden_file

PLACES = ["Lund", "Graz", "Oslo", "Pisa", "Bern", "Turku", "Delft", "Ghent"]


def make_data(path: Path) -> None:
    """Eight paragraphs with a question each, in SQuAD's form."""
    paragraphs = []
    for i, place in enumerate(PLACES):
        context = f"In {1900 + i} the bees of {place} were counted . There were {10 * i} of them , and no wasps ."
        answer = {"text": place, "answer_start": context.index(place)}
        qas = [{"id": str(i), "question": f"Where were bees counted in {1900 + i} ?", "answers": [answer]}]
        paragraphs.append({"context": context, "qas": qas})
    data = {"version": "1.1", "data": [{"title": "Bees", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(data), encoding="utf-8")


def make_model(folder: Path, data: Path) -> None:
    """A tiny XLM-R encoder, its weights from NumPy's frozen random stream, and a tokenizer of whole words."""
    words = sorted({word for word in data.read_text().replace('"', " ").split() if word.isalnum()} | {"?", ".", ","})
    words += [str(10 * i) for i in range(8) if str(10 * i) not in words]
    vocabulary = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *words])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "cls_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "sep_token": "</s>"}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, **names, unk_token="<unk>", model_input_names=["input_ids", "attention_mask"]
    ).save_pretrained(folder)
    config = transformers.XLMRobertaConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=34, type_vocab_size=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = transformers.XLMRobertaForQuestionAnswering(config)
    stream = np.random.RandomState(0)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            parameter.copy_(torch.from_numpy(stream.standard_normal(tuple(parameter.shape)) * 0.2))
            if name.endswith("LayerNorm.weight"):
                parameter.add_(1)
    model.save_pretrained(folder)


@golden_file.one_thread()
def make_losses(folder: Path) -> dict[str, list[float]]:
    """The loss of each of 20 steps of a run in `folder`."""
    data, model = folder / "bees.json", folder / "model"
    make_data(data)
    make_model(model, data)
    fields = {
        "model": str(model), "train_data": str(data), "output_dir": str(folder / "run"),
        "max_tokens": 96, "attention_window": 8, "n_concat": 2, "max_length": 32, "overlap": 6,
        "max_steps": 20, "per_device_train_batch_size": 4, "learning_rate": 0.01, "logging_steps": 1, "seed": 7,
        "train_sampling_strategy": "group_by_length", "save_strategy": "no", "report_to": "none", "use_cpu": True,
        "disable_tqdm": True,
    }  # fmt: skip
    recipe = folder / "tiny.yaml"
    recipe.write_text(json.dumps(fields), encoding="utf-8")
    record = finetune(load_recipe(recipe))
    losses = [log.values["loss"] for log in record.steps if "loss" in log.values]
    return {str(step): [loss] for step, loss in enumerate(losses, start=1)}


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        golden_file.write_golden("finetune_tiny.txt", make_losses(Path(folder)))


if __name__ == "__main__":
    main()
