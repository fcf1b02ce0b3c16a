"""Properties of the model beside parity: independent rows, any length, settings that take effect."""

import pytest
import torch
from torch import nn

from longspan.attention import GlobalSlots
from longspan.errors import InputError
from longspan.models import encoder, self_attention
from longspan.models.plan import plan_attention

ROWS = ([23, 5, 14], [[0, 20], [], [13]])


@pytest.mark.parametrize("left", [False, True], ids=["padded right", "padded left"])
@pytest.mark.parametrize("embedded", [False, True], ids=["ids", "embeddings"])
@pytest.mark.parametrize("n_global", [0, 2], ids=["no static", "static globals"])
@pytest.mark.parametrize("unpad_inputs", [False, True], ids=["padded", "unpadded"])
def test_row_is_the_same_alone_and_batched(tiny_model, batch, left, embedded, n_global, unpad_inputs):
    model = tiny_model(global_attention_size=n_global, unpad_inputs=unpad_inputs)
    inputs = batch(*ROWS, left=left)
    if embedded:
        inputs["inputs_embeds"] = model.embeddings.word_embeddings(inputs.pop("input_ids"))
    together = model(**inputs)
    for row, length in enumerate(ROWS[0]):
        part = slice(-length, None) if left else slice(length)
        alone = model(**{name: values[row : row + 1, part] for name, values in inputs.items()})
        torch.testing.assert_close(together[0][row : row + 1, part], alone[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together[1][row : row + 1], alone[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("left", [False, True], ids=["padded right", "padded left"])
@pytest.mark.parametrize("unpad_inputs", [False, True], ids=["padded", "unpadded"])
def test_static_global_tokens_skip_padding(tiny_model, batch, left, unpad_inputs):
    model = tiny_model(global_attention_size=2, unpad_inputs=unpad_inputs)
    inputs = batch([60, 1, 23], left=left)
    together = model(**inputs)[0]
    for row, length in enumerate([60, 1, 23]):
        part = slice(-length, None) if left else slice(length)
        alone = model(input_ids=inputs["input_ids"][row : row + 1, part])[0]
        torch.testing.assert_close(together[row : row + 1, part], alone, atol=1e-5, rtol=1e-4)


def test_ids_at_padding_do_not_split_a_document(tiny_model):
    model = tiny_model(global_attention_size=1)
    ids = torch.tensor([[5, 6, 1, 7, 8, 9]])
    mask = torch.tensor([[1, 1, 0, 1, 1, 1]])
    whole = model(ids, attention_mask=mask, document_ids=torch.tensor([[0, 0, 0, 0, 1, 1]]))[0]
    other = model(ids, attention_mask=mask, document_ids=torch.tensor([[0, 0, 9, 0, 1, 1]]))[0]
    named = model(
        ids,
        attention_mask=mask,
        document_ids=torch.tensor([[0, 0, 9, 0, 1, 1]]),
        global_attention_mask=torch.zeros_like(mask),
    )[0]
    real = mask[0].bool()
    torch.testing.assert_close(other[:, real], whole[:, real], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(named[:, real], whole[:, real], atol=1e-6, rtol=1e-5)


def test_inputs_are_not_padded_to_the_window(tiny_model, batch, monkeypatch):
    n_tokens = set()
    attend = self_attention.attend

    def watched(q_BHTD, *arguments, **named):
        n_tokens.add(q_BHTD.shape[2])
        return attend(q_BHTD, *arguments, **named)

    monkeypatch.setattr(self_attention, "attend", watched)
    tiny_model(attention_window=512)(**batch([40, 39]))
    assert n_tokens == {40}


def test_backend_of_the_configuration_is_used(tiny_model, batch, monkeypatch):
    asked = []
    attend = self_attention.attend

    def watched(*arguments, backend, **named):
        asked.append(backend)
        return attend(*arguments, backend=backend, **named)

    monkeypatch.setattr(self_attention, "attend", watched)
    model, inputs = tiny_model(), batch([23, 5], [[0, 20], [1]])
    expected = model(**inputs)[0]
    model.config.attention_backend = "reference"
    torch.testing.assert_close(model(**inputs)[0], expected, atol=1e-5, rtol=1e-4)
    assert asked == ["auto", "auto", "reference", "reference"]
    model.config.attention_backend = "none such"
    with pytest.raises(InputError, match="attention_backend must be one of auto, "):
        model(**inputs)


def test_plan_moves_between_devices(tiny_model, batch):
    from accelerate.utils import send_to_device

    inputs = batch([23, 5], [[0, 20], [1]])
    is_token_BT, is_global_BT = inputs["attention_mask"] > 0, inputs["global_attention_mask"] > 0
    config = tiny_model().config
    plan = plan_attention(config, (2, 23), torch.device("cpu"), is_token_BT, is_global_BT)
    moved = send_to_device(plan, "meta")
    assert type(moved) is type(plan)
    assert moved.patterns == plan.patterns
    assert moved.slots.index_BG.device.type == moved.is_token_BT.device.type == "meta"


def test_global_slots_are_found_once_and_projected(tiny_model, batch, monkeypatch):
    model = tiny_model()
    finds, seen = [], []
    find = GlobalSlots.find
    monkeypatch.setattr(GlobalSlots, "find", staticmethod(lambda *masks: finds.append(masks) or find(*masks)))
    attention = model.encoder.layer[1].attention.self
    for name in ("query_global", "key_global", "value_global"):
        getattr(attention, name).register_forward_hook(lambda _, x, y, name=name: seen.append((name, x[0].shape[1])))
    model(**batch([23, 22], [[0, 20], [1]]))
    assert len(finds) == 1
    assert seen == [("query_global", 2), ("key_global", 23), ("value_global", 23)]
    seen.clear()
    model(**batch([23, 22], [[], []]))
    assert not seen


def test_first_tokens_are_global_by_configuration(tiny_model, batch, monkeypatch):
    by_mask, static = tiny_model(), tiny_model(global_attention_size=3)
    inputs = batch([23, 14], [[0, 1, 2], [0, 1, 2]])
    expected = by_mask(**inputs)[0]
    both = static(**inputs)[0]
    monkeypatch.setattr(GlobalSlots, "find", None)  # the static way never looks at the data
    del inputs["global_attention_mask"]
    torch.testing.assert_close(static(**inputs)[0], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(both, expected, atol=1e-5, rtol=1e-4)


def test_more_global_tokens_than_tokens(tiny_model, batch):
    static, by_mask = tiny_model(global_attention_size=10), tiny_model()
    for lengths in ([1], [4, 2]):
        expected = by_mask(**batch(lengths, [range(n) for n in lengths]))[0]
        torch.testing.assert_close(static(**batch(lengths))[0], expected, atol=1e-5, rtol=1e-4)


def test_global_mask_adds_to_the_first_tokens(tiny_model, batch):
    inputs = batch([23, 14], [[20], [9]], left=True)
    marked = batch([23, 14], [[20], [9]], left=True)
    marked["global_attention_mask"][0, :2] = 1
    marked["global_attention_mask"][1, 9:11] = 1  # behind the padding
    found = tiny_model(global_attention_size=2)(**inputs)[0]
    torch.testing.assert_close(found, tiny_model()(**marked)[0], atol=1e-5, rtol=1e-4)


def test_changed_window_takes_effect_at_the_next_forward(tiny_model, batch):
    model, inputs = tiny_model(), batch([30])
    model(**inputs)
    model.config.attention_window = [4, 20]
    expected = tiny_model(attention_window=[4, 20])(**inputs)[0]
    torch.testing.assert_close(model(**inputs)[0], expected)
    model.config.attention_window = [4, 20, 6]
    with pytest.raises(InputError, match="lists 3 values, but the model has 2 layers"):
        model(**inputs)


@pytest.mark.parametrize("changed", [5, 30])
def test_dilated_model_sees_as_far_as_it_says(tiny_model, batch, changed):
    # One layer, 2 steps of 3 positions to each side: token 17 sees 11, 14, 17, 20, 23.
    model = tiny_model(num_hidden_layers=1, attention_window=4, attention_dilation=3)
    inputs = batch([40])
    before = model(**inputs)[0]
    inputs["input_ids"][0, changed] = 4
    moved = ((model(**inputs)[0] - before).abs().amax(dim=-1) > 1e-7)[0].nonzero().flatten().tolist()
    assert moved == [changed + step for step in (-6, -3, 0, 3, 6) if 0 <= changed + step < 40]


def test_attention_dropout_in_training_only(tiny_model, batch):
    model = tiny_model(attention_probs_dropout_prob=0.5)
    inputs = batch([30, 9])
    torch.testing.assert_close(model(**inputs)[0], model(**inputs)[0])
    model.train()
    assert not torch.allclose(model(**inputs)[0], model(**inputs)[0])


def test_row_of_padding_stays_finite(tiny_model, batch):
    inputs = batch([9, 4], [[0], [1]])
    inputs["attention_mask"][1] = 0
    assert torch.isfinite(tiny_model()(**inputs)[0]).all()


def test_longest_input_and_one_token_more(tiny_model, batch):
    model = tiny_model(max_position_embeddings=34)
    model(**batch([32]))
    with pytest.raises(InputError, match="has 33 tokens, but this model takes at most 32; cut it into overlapping"):
        model(**batch([33]))
    with pytest.raises(InputError, match="has 40 tokens"):
        model(inputs_embeds=torch.zeros(1, 40, 8))
    # Padding reads one row however much there is of it.
    inputs = batch([32, 3])
    padded = {name: nn.functional.pad(x, (0, 20), value=int(name == "input_ids")) for name, x in inputs.items()}
    torch.testing.assert_close(model(**padded)[0][:, :32], model(**inputs)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "one of input_ids and inputs_embeds"),
        ({"input_ids": torch.ones(1, 4).long(), "inputs_embeds": torch.ones(1, 4, 8)}, "one of input_ids"),
        ({"input_ids": torch.ones(4).long()}, r"not \(4,\)"),
        (
            {"input_ids": torch.ones(1, 4).long(), "attention_mask": torch.ones(1, 5)},
            r"attention_mask has shape \(1, 5",
        ),
        (
            {"input_ids": torch.ones(1, 4).long(), "global_attention_mask": torch.ones(2, 4)},
            r"global_attention_mask has shape \(2, 4\), but the input has \(1, 4\)",
        ),
        ({"input_ids": torch.ones(1, 4).long(), "attention_mask": torch.ones(1, 1, 4, 4)}, "attention_mask has shape"),
    ],
)
def test_wrong_inputs_are_named(tiny_model, inputs, message):
    with pytest.raises(InputError, match=message):
        tiny_model()(**inputs)


def test_wrong_widths_are_named(tiny_model):
    with pytest.raises(InputError, match="hidden_size 8 is not a multiple of num_attention_heads 3"):
        tiny_model(num_attention_heads=3)
    with pytest.raises(InputError, match="pad_token_id is not set"):
        tiny_model(pad_token_id=None)


def test_no_tensor_is_quadratic(tiny_model, batch):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.elements = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            for x in out if isinstance(out, tuple | list) else [out]:
                if isinstance(x, torch.Tensor):
                    self.elements = max(self.elements, x.numel())
            return out

    model = tiny_model(max_position_embeddings=1026)
    with torch.no_grad(), Largest() as largest:
        model(**batch([1024, 900], [[0], [0]]), output_attentions=True)
    assert largest.elements < 1024 * 1024


def test_feed_forward_in_chunks_changes_nothing(tiny_model, batch, monkeypatch):
    model, inputs = tiny_model(), batch([23, 22], [[0], [3]])
    expected = model(**inputs)[0]
    seen = []
    forward = type(model.encoder.layer[0].intermediate).forward
    monkeypatch.setattr(encoder, "_CHUNK", 10)
    monkeypatch.setattr(
        encoder.LongformerIntermediate, "forward", lambda self, x: seen.append(x.shape[1]) or forward(self, x)
    )
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs)[0], expected)
        assert seen == [10, 10, 10, 10, 6] * 2
        # Who looks at the middle of a layer sees it whole.
        model.encoder.layer[0].intermediate.register_forward_hook(lambda *_: None)
        model(**inputs)
    assert seen[10:] == [23, 10, 10, 10, 10, 6]
