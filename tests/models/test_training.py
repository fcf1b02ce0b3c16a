"""Training: gradient checkpointing, mixed precision, PEFT, the Trainer."""

import subprocess
import sys

import pytest
import torch
import transformers
from torch.utils.data import Dataset

import longspan

LENGTHS, GLOBALS = [21, 13], [[0, 20], [5]]


def gradients(model, inputs):
    model.zero_grad()
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    return {name: x.grad.clone() for name, x in model.named_parameters() if x.grad is not None}


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_changes_no_gradient(tiny_model, batch, checkpoint_layers, use_reentrant):
    model, inputs = tiny_model("masked lm", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1), batch(LENGTHS)
    inputs["global_attention_mask"] = torch.zeros_like(inputs["input_ids"])
    inputs["global_attention_mask"][:, 3] = 1
    model.train()
    torch.manual_seed(3)
    expected = gradients(model, inputs)
    checkpoint_layers(model, use_reentrant=use_reentrant)
    if use_reentrant:
        model.enable_input_require_grads()
    calls = []
    model.longformer.encoder.layer[0].intermediate.register_forward_hook(lambda *_: calls.append(1))
    torch.manual_seed(3)
    found = gradients(model, inputs)
    assert len(calls) == 2  # once forward, once again on the way back
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("head", ["masked lm", "question answering"])
def test_autocast(tiny_model, batch, dtype, head):
    model = tiny_model(head)
    inputs = batch(LENGTHS, GLOBALS, separators=(3, 4, 12))
    targets = {"labels": inputs["input_ids"]}
    if head == "question answering":
        targets = {"start_positions": torch.tensor([6, 7]), "end_positions": torch.tensor([9, 9])}
    expected = model(**inputs, **targets).loss
    with torch.autocast("cpu", dtype=dtype):
        loss = model(**inputs, **targets).loss
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, atol=0.05, rtol=0.05)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == torch.float32
        assert torch.isfinite(parameter.grad).all(), name


# peft 0.21 asks by the name that transformers 5.23 deprecates.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_peft_lora_trains_saves_and_loads(tiny_model, batch, tmp_path):
    peft = pytest.importorskip("peft")
    inputs = batch(LENGTHS, GLOBALS, separators=(3, 4, 12))
    targets = {"start_positions": torch.tensor([6, 7]), "end_positions": torch.tensor([9, 9])}
    tiny_model("question answering").save_pretrained(tmp_path / "base")

    def load():
        return longspan.LongformerForQuestionAnswering.from_pretrained(tmp_path / "base")

    adapters = peft.LoraConfig(
        task_type="QUESTION_ANS", r=2, target_modules=["query", "value", "query_global"], modules_to_save=["qa_outputs"]
    )
    model = peft.get_peft_model(load(), adapters)
    trained = {name for name, x in model.named_parameters() if x.requires_grad}
    assert any("query_global.lora_A" in name for name in trained)
    assert not any("key.weight" in name for name in trained)
    optimizer = torch.optim.SGD([x for x in model.parameters() if x.requires_grad], lr=0.5)
    losses = []
    for _ in range(5):
        loss = model(**inputs, **targets).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    model.save_pretrained(tmp_path / "adapters")
    again = peft.PeftModel.from_pretrained(load(), tmp_path / "adapters").eval()
    expected = model.eval()(**inputs).start_logits
    torch.testing.assert_close(again(**inputs).start_logits, expected)
    merged = again.merge_and_unload()
    torch.testing.assert_close(merged(**inputs).start_logits, expected, atol=1e-5, rtol=1e-4)


class Rows(Dataset):
    def __init__(self, inputs):
        self.inputs = inputs

    def __len__(self):
        return len(self.inputs["labels"])

    def __getitem__(self, row):
        return {name: values[row] for name, values in self.inputs.items()}


def test_trainer_takes_the_same_step_with_accumulated_gradients(tiny_model, batch, tmp_path):
    """Four rows at once or accumulated one by one give the same step, also with different numbers of targets."""
    inputs = batch([12, 9, 7, 5])
    inputs["labels"] = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    stepped = []
    for rows, accumulated in ((4, 1), (1, 4)):
        model = tiny_model("masked lm")
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=rows, optim="sgd", learning_rate=0.1,
            gradient_accumulation_steps=accumulated, report_to=[], save_strategy="no", use_cpu=True,
            logging_strategy="no", disable_tqdm=True, max_grad_norm=0, seed=0,
        )  # fmt: skip
        transformers.Trainer(model, arguments, train_dataset=Rows(inputs)).train()
        stepped.append(model.lm_head.dense.weight.detach().clone())
    torch.testing.assert_close(stepped[1], stepped[0], atol=1e-6, rtol=1e-5)


@pytest.mark.slow
def test_static_global_tokens_can_be_traced():
    # In a process of its own: the shape checker of the test run is what would stop it. The reference is plain tensor
    # code, so that only the model's own could.
    script = (
        "import torch, longspan\n"
        "config = longspan.LongformerConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, vocab_size=9,\n"
        "    intermediate_size=8, global_attention_size=2, attention_backend='reference')\n"
        "model = longspan.LongformerModel(config).eval()\n"
        "with torch.no_grad():\n"
        "    mask = torch.tensor([[1] * 12, [1] * 9 + [0] * 3])\n"
        "    explained = torch._dynamo.explain(model)(torch.full((2, 12), 5), attention_mask=mask)\n"
        "assert explained.graph_break_count == 0, explained.break_reasons\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
