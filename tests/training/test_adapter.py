import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from longspan.errors import InputError
from longspan.records import read_record
from longspan.tasks.adapters import read_adapter
from longspan.tasks.question_answering.model import load_qa_model
from longspan.tasks.question_answering.task import QuestionAnswering
from longspan.training.finetune.finetune import finetune
from longspan.training.finetune.model import build_model


def losses(record):
    return {log.step: log.values["loss"] for log in record.steps if "loss" in log.values}


def names(folder):
    return {path.name for path in Path(folder).iterdir() if path.is_file()}


LONG = {"max_tokens": 192, "attention_window": 16, "adapter_rank": 4, "max_steps": 2}


def test_a_run_leaves_an_adapter_that_is_loaded_as_a_model(tiny_recipe, tiny_squad):
    recipe = tiny_recipe(**LONG, freeze="embeddings", gradient_checkpointing=True, eval_data=str(tiny_squad))
    record = finetune(recipe)
    root = Path(recipe.output_dir)
    adapter = {"adapter.json", "adapter_config.json", "adapter_model.safetensors"}
    assert names(root) == adapter | {"README.md", "training.json", "proof.json"}
    assert read_record(root / "training.json") == record
    card = (root / "README.md").read_text()
    assert "rank 4 for 18 matrices" in card
    assert str(root.parent) not in card
    says = read_adapter(root).description
    assert (says.max_tokens, says.attention_window, says.positions, says.rank) == (192, 16, "copy", 4)
    assert says.kept == {}
    model, tokenizer = load_qa_model(root)
    assert model.config.model_type == "longformer"
    assert tokenizer.model_max_length == 192
    before = build_model(QuestionAnswering(), recipe.model_copy(update={"adapter_rank": None}), {}).body
    changed = {name for name, one in model.named_parameters() if not torch.equal(one, before.get_parameter(name))}
    assert changed == {"qa_outputs.weight", "qa_outputs.bias", *read_adapter(root).factors}
    assert any("query_global" in name for name in changed), "the question's tokens are global"


@pytest.mark.parametrize("model", ["bert", "longformer"])
def test_merged_it_is_the_same_model(tiny_recipe, model, tmp_path):
    fields = {"adapter_rank": 2, "max_steps": 2, "adapter_also": ["norms", "biases"], "adapter_targets": ["query"]}
    finetune(tiny_recipe(model, **fields, output_dir=str(tmp_path / "adapter")))
    finetune(tiny_recipe(model, **fields, output_dir=str(tmp_path / "merged"), merge_adapter=True))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names(tmp_path / "merged")
    assert "adapter.json" not in names(tmp_path / "merged")
    AutoModelForQuestionAnswering.from_pretrained(tmp_path / "merged")
    merged = load_qa_model(tmp_path / "merged")[0].state_dict()
    added = load_qa_model(tmp_path / "adapter")[0].state_dict()
    for name, value in merged.items():
        torch.testing.assert_close(added[name], value, atol=1e-6, rtol=1e-5, msg=name)
    adapter = read_adapter(tmp_path / "adapter")
    assert len(adapter.factors) == 2
    assert {name.split(".")[-2] for name in adapter.whole} >= {"LayerNorm", "dense", "key", "qa_outputs"}


def test_evaluated_and_resumed_as_if_never_stopped(tiny_recipe, tiny_squad, tmp_path, stop_at):
    fields = {
        "adapter_rank": 2,
        "max_steps": 6,
        "save_steps": 2,
        "eval_data": str(tiny_squad),
        "eval_strategy": "steps",
    }
    fields |= {"eval_strategy": "steps", "eval_steps": 3, "resume_from_checkpoint": True, "metric_for_best_model": "f1"}
    fields |= {"adapter_also": ["norms", "biases"], "adapter_dropout": 0.1}
    whole = finetune(tiny_recipe("longformer", **fields, output_dir=str(tmp_path / "whole")))
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_recipe("longformer", **fields), callbacks=(stop_at(5),))
    resumed = finetune(tiny_recipe("longformer", **fields))
    assert losses(resumed) == pytest.approx(losses(whole), abs=1e-6)
    assert [log.step for log in resumed.steps if "eval_f1" in log.values] == [3, 6]
    one, other = (load_qa_model(tmp_path / name)[0] for name in ("whole", "run"))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, atol=1e-6, rtol=1e-5, msg=name)


def test_an_adapter_goes_on_at_greater_length(tiny_recipe, tmp_path, caplog):
    """Short first, then extended: one adapter of the same rank for the base, which loses nothing on the way."""
    finetune(tiny_recipe(adapter_rank=4, max_steps=2, output_dir=str(tmp_path / "short")))
    long = tiny_recipe().model_copy(update={"model": str(tmp_path / "short"), **LONG})
    built = build_model(QuestionAnswering(), long, {})
    merged = build_model(QuestionAnswering(), long.model_copy(update={"adapter_rank": None}), {}).body
    after = built.model.merge_and_unload()
    for name, value in merged.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], value, atol=1e-5, rtol=1e-4, msg=name)
    assert "higher rank" not in caplog.text
    finetune(long)
    says = read_adapter(tmp_path / "run").description
    assert says.base == tiny_recipe().model
    assert says.max_tokens == 192
    load_qa_model(tmp_path / "run")
    # And once more, without a further extension; at a higher rank.
    again = tiny_recipe(adapter_rank=6, max_steps=1, output_dir=str(tmp_path / "again"))
    finetune(again.model_copy(update={"model": str(tmp_path / "run")}))
    assert read_adapter(tmp_path / "again").description.max_tokens == 192


def test_an_adapter_out_of_a_whole_fine_tuning_is_trained_further(tiny_recipe, tmp_path, caplog):
    finetune(tiny_recipe(freeze="word_embeddings", max_steps=3, output_dir=str(tmp_path / "full")))
    recipe = tiny_recipe(adapter_rank=2, max_steps=2, adapter_base="BASE", adapter_precision="fp16")
    recipe = recipe.model_copy(update={"adapter_base": recipe.model, "model": str(tmp_path / "full")})
    record = finetune(recipe)
    assert "the adapter begins with" in caplog.text
    adapter = read_adapter(tmp_path / "run")
    assert 0 < min(adapter.description.kept.values()) < 1
    assert "of their squared norm" in (tmp_path / "run/README.md").read_text()
    assert any("position_embeddings" in name for name in adapter.whole), "it changed before"
    assert losses(record)[1] < 6
    load_qa_model(tmp_path / "run")
    # A run that ends otherwise leaves nothing of the adapter behind.
    finetune(recipe.model_copy(update={"merge_adapter": True, "resume_from_checkpoint": True}))
    assert "adapter.json" not in names(tmp_path / "run")
    assert "config.json" in names(tmp_path / "run")


def test_targets_that_are_not_there(tiny_recipe):
    with pytest.raises(InputError, match=r"no linear map of the encoder is called 'quer'; they are called dense, key"):
        build_model(QuestionAnswering(), tiny_recipe(adapter_rank=2, adapter_targets=["query", "quer"]), {})
    with pytest.raises(InputError, match="all linear maps are frozen"):
        build_model(QuestionAnswering(), tiny_recipe(adapter_rank=2, freeze="encoder"), {})


@pytest.mark.parametrize("base", ["folder", "relative path", "adapter", "name on the hub"])
def test_every_checkpoint_is_saved_without_the_base(base, tiny_recipe, tmp_path, monkeypatch):
    """PEFT would read the configuration of the base, by its name, at the second checkpoint."""
    fields = {**LONG, "max_steps": 3, "save_steps": 1, "save_total_limit": 5}
    recipe = tiny_recipe(**fields)
    folder = Path(recipe.model)
    name = {"relative path": f"{folder.parent.name}/{folder.name}", "adapter": str(tmp_path / "short")}.get(base)
    monkeypatch.chdir(folder.parent.parent)
    if base == "adapter":
        finetune(tiny_recipe(adapter_rank=2, max_steps=1, output_dir=str(tmp_path / "short")))
    if base == "name on the hub":
        name = _in_the_hubs_cache(folder, tmp_path, monkeypatch)
    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", lambda *_, **__: pytest.fail("asked"))
    finetune(recipe.model_copy(update={"model": name or recipe.model}))
    for step in (1, 2, 3):
        assert "adapter_model.safetensors" in names(tmp_path / f"run/checkpoints/checkpoint-{step}")
    monkeypatch.chdir(tmp_path)
    assert load_qa_model(tmp_path / "run")[0].config.max_position_embeddings > 64


def _in_the_hubs_cache(folder, tmp_path, monkeypatch):
    """A name that is found without a connection, as after a download."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # else a machine without a network tries again for minutes
    repository = tmp_path / "hub/models--somebody--tiny"
    shutil.copytree(folder, repository / "snapshots/1")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("1")
    return "somebody/tiny"


def test_the_best_checkpoint_of_a_folder_is_loaded(tiny_recipe, tiny_squad):
    fields = {"eval_data": str(tiny_squad), "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1, **LONG}
    recipe = tiny_recipe(load_best_model_at_end=True, **fields)
    finetune(recipe)
    load_qa_model(recipe.output_dir)
