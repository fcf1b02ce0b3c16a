import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.recipe.fields import FinetuneRecipe
from longspan.training.recipe.files import load_recipe


@pytest.fixture(scope="session", autouse=True)
def _quick_collections():
    """Every training collects garbage: the libraries' own objects, which never become any, are taken out of that."""
    import transformers.trainer  # noqa: F401

    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def stop_at() -> Callable[[int], Any]:
    """A callback that kills the run after a step, as Ctrl-C does."""
    from transformers import TrainerCallback

    class StopAt(TrainerCallback):
        def __init__(self, step: int) -> None:
            self.step = step

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == self.step:
                raise KeyboardInterrupt

    return StopAt


@pytest.fixture
def tiny_recipe(tmp_path, tiny_squad, tiny_qa_folder) -> Callable[..., FinetuneRecipe]:
    """A recipe of a few steps on the tiny data; fields override it."""

    def make(model: str = "xlm-roberta encoder", **fields: Any) -> FinetuneRecipe:
        values = {
            "model": str(tiny_qa_folder(model)),
            "train_data": str(tiny_squad),
            "output_dir": str(tmp_path / "run"),
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-2,
            "logging_steps": 1,
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
        } | fields
        path = Path(tmp_path) / "tiny.yaml"
        path.write_text("\n".join(f"{name}: {_yaml(value)}" for name, value in values.items()), encoding="utf-8")
        return load_recipe(path)

    return make


def _yaml(value: Any) -> str:
    import json

    return json.dumps(value)


@pytest.fixture
def ended_writers():
    """Waits, after the test, for TensorBoard's threads that an error has ended: pytest looks for them then."""
    yield
    for thread in threading.enumerate():
        if type(thread).__name__ == "_AsyncWriterThread":
            thread.join(timeout=10)


@pytest.fixture
def make_checkpoint() -> Callable[[Path, int], Path]:
    """Writes a whole checkpoint of a step, without a real model in it."""
    from longspan.training.run.checkpoints import write_manifest

    def make(folder: Path, step: int) -> Path:
        path = folder / f"checkpoint-{step}"
        path.mkdir(parents=True)
        (path / "model.safetensors").write_bytes(b"weights")
        (path / "optimizer.pt").write_bytes(b"moments")
        (path / "trainer_state.json").write_text("{}")
        write_manifest(path)
        return path

    return make


@pytest.fixture(scope="session")
def tiny_mlm_folder(tmp_path_factory, tiny_tokenizer) -> Path:
    """A random XLM-RoBERTa of 64 tokens with its masked language modelling head, and a tokenizer."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.XLMRobertaConfig(
        vocab_size=200, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=66, type_vocab_size=1, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
        pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("mlm")
    transformers.XLMRobertaForMaskedLM(config).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory) -> Path:
    """A text of 60 paragraphs."""
    path = tmp_path_factory.mktemp("text") / "bees.txt"
    paragraphs = []
    for i in range(60):
        name, town = ("Anna", "Boris", "Clara")[i % 3], ("Lund", "Graz", "Oslo", "Pisa")[i % 4]
        paragraphs.append(f"{name} was born in {town} in {1900 + i}. Later {name} wrote {i} books about bees.")
    path.write_text("\n\n".join(paragraphs), encoding="utf-8")
    return path


@pytest.fixture
def tiny_pretrain(tmp_path, tiny_mlm_folder, tiny_text) -> Callable[..., PretrainRecipe]:
    """A pre-training recipe of a few steps; fields override it."""

    def make(file: str = "tiny.yaml", **fields: Any) -> PretrainRecipe:
        values = {
            "task": "masked_lm",
            "model": str(tiny_mlm_folder),
            "train_data": [str(tiny_text)],
            "output_dir": str(tmp_path / "run"),
            "cache_dir": str(tmp_path / "cache"),
            "n_processes": 1,
            "max_tokens": 96,
            "attention_window": 16,
            "proof": "none",
            "eval_lengths": [32, 96],
            "max_steps": 6,
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": 2,
            "learning_rate": 5e-3,
            "logging_steps": 1,
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
        } | fields
        values = {name: value for name, value in values.items() if value is not None}
        path = Path(tmp_path) / file
        path.write_text("\n".join(f"{name}: {_yaml(value)}" for name, value in values.items()), encoding="utf-8")
        return load_recipe(path, kind=PretrainRecipe)

    return make
