"""Padding is removed and restored without effect on results; packed documents do not see each other."""

import pytest
import torch

from longspan.attention import GlobalRows
from longspan.attention.call import check_inputs
from longspan.attention.flash.backend import plan_of
from longspan.errors import InputError

# Row lengths, global tokens.
RAGGED = ([23, 5, 14], [[0, 20], [], [13]])
# Kinds of attention: settings of the model, and whether a mask names global tokens.
KINDS = {
    "local": ({}, False),
    "dynamic": ({}, True),
    "static": ({"global_attention_size": 2}, False),
    "both": ({"global_attention_size": 2}, True),
    "dilated": ({"attention_dilation": [[1, 2], 3], "attention_window": 4}, True),
}


@pytest.fixture
def widths(monkeypatch):
    """`widths(model)`: a list that collects the shapes of the inputs of its first layer."""

    def watch(model):
        seen = []
        getattr(model, "longformer", model).encoder.layer[0].register_forward_pre_hook(
            lambda _, args: seen.append(tuple(args[0].shape[:2]))
        )
        return seen

    return watch


def outputs_and_gradients(model, inputs):
    """All outputs of the model, also at padding, and all gradients."""
    output = model(**inputs, output_hidden_states=True)
    loss = output.loss if "loss" in output else output[0].square().sum() + output.hidden_states[1].sum()
    model.zero_grad()
    loss.backward()
    found = {name: x for name, x in output.items() if isinstance(x, torch.Tensor)}
    found |= {f"hidden {n}": x for n, x in enumerate(output.hidden_states)}
    return found | {name: x.grad for name, x in model.named_parameters()}


@pytest.mark.parametrize(
    ("head", "kind", "left"),
    [
        *(("base", kind, left) for kind in KINDS for left in (False, True)),
        *((head, "dynamic", False) for head in ("question answering", "sequence classification", "masked lm")),
    ],
)
def test_no_output_and_no_gradient_changes(tiny_model, batch, widths, head, kind, left):
    settings, has_mask = KINDS[kind]
    inputs = batch(RAGGED[0], RAGGED[1] if has_mask else None, separators=(3,), left=left, n_types=2)
    if head == "masked lm":
        inputs["labels"] = inputs["input_ids"]
    if head == "question answering":
        inputs |= {"start_positions": torch.tensor([4, 20, 9]), "end_positions": torch.tensor([5, 22, 30])}
    results = []
    for unpad in (False, True):
        model = tiny_model(head, unpad_inputs=unpad, type_vocab_size=2, **settings).double()
        seen = widths(model)
        results.append(outputs_and_gradients(model, inputs))
        # The rows' own tokens, and one for all padding.
        assert seen == [(1, 23 + 5 + 14 + 1)] if unpad else [(3, 23)]
    assert results[0].keys() == results[1].keys()
    for name, expected in results[0].items():
        if expected is None:
            assert results[1][name] is None, name
        else:
            torch.testing.assert_close(results[1][name], expected, atol=1e-10, rtol=1e-9, msg=name)


def test_embeddings_and_positions_of_the_caller(tiny_model, batch):
    inputs = batch(*RAGGED)
    embeds = torch.randn(3, 23, 8, dtype=torch.float64, requires_grad=True)
    del inputs["input_ids"]
    for positions in (None, torch.arange(23)[None] + 7, torch.randint(2, 40, (3, 23))):
        results = []
        for unpad in (False, True):
            model = tiny_model(unpad_inputs=unpad).double()
            hidden = model(inputs_embeds=embeds, position_ids=positions, **inputs)[0]
            hidden = hidden.masked_fill(inputs["attention_mask"][..., None] == 0, 0)
            results.append((hidden, *torch.autograd.grad(hidden.square().sum(), embeds)))
        torch.testing.assert_close(results[1], results[0])


def test_unpadding_is_automatic_above_a_share(tiny_model, batch, widths):
    for settings, lengths, expected in (
        ({}, [23, 14], (1, 38)),
        ({}, [23, 22], (2, 23)),
        ({"unpad_inputs": True}, [23, 22], (1, 46)),
        ({"unpad_inputs": False}, [23, 14], (2, 23)),
        ({}, [23, 23], (2, 23)),
        ({"unpad_inputs": True}, [23, 23], (2, 23)),
        ({"attention_backend": "reference"}, [23, 14], (2, 23)),
        ({"attention_backend": "reference", "unpad_inputs": True}, [23, 14], (1, 38)),
        ({"chunk_size_feed_forward": 23}, [23, 14], (2, 23)),
    ):
        model = tiny_model(**settings)
        seen = widths(model)
        model(**batch(lengths))
        assert seen == [expected], settings
    with pytest.raises(InputError, match="unpad_inputs must be true, false or null"):
        tiny_model(unpad_inputs="yes")


def test_padding_inside_rows_and_attention_weights_keep_padding(tiny_model, batch, widths):
    model, inputs = tiny_model(unpad_inputs=True), batch([23, 14])
    seen = widths(model)
    weights = model(**inputs, output_attentions=True).attentions
    assert weights[0].shape == (2, 2, 23, 9)
    inputs["attention_mask"][1, 5] = 0
    model(**inputs)
    assert seen == [(2, 23)] * 2


def test_rows_of_padding_only(tiny_model, batch):
    inputs = batch([9, 4, 2], [[0], [1], []])
    inputs["attention_mask"][1] = 0
    results = [tiny_model(unpad_inputs=unpad)(**inputs) for unpad in (False, True)]
    torch.testing.assert_close(results[1].pooler_output, results[0].pooler_output)
    inputs["attention_mask"][:] = 0
    assert torch.isfinite(tiny_model(unpad_inputs=True)(**inputs)[0]).all()


def test_training_with_dropout_and_checkpointing(tiny_model, batch, checkpoint_layers):
    model = tiny_model("masked lm", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1).train()
    inputs = batch(*RAGGED)
    gradients = []
    for _ in range(2):
        torch.manual_seed(3)
        model.zero_grad()
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        gradients.append([x.grad.clone() for x in model.parameters()])
        checkpoint_layers(model, use_reentrant=False)
    torch.testing.assert_close(*gradients)


def test_masks_and_parts_of_another_shape_are_named(tiny_model, batch):
    inputs = batch([23, 14])
    for name in ("token_type_ids", "position_ids"):
        with pytest.raises(InputError, match=rf"{name} has shape \(2, 30\)"):
            tiny_model()(**inputs, **{name: torch.zeros(2, 30, dtype=torch.long)})


@pytest.mark.parametrize("kind", ["local", "dynamic", "static", "both"])
def test_no_layer_waits_for_the_device(tiny_model, batch, monkeypatch, kind):
    """The host knows everything that `flash`, the most demanding backend, needs about documents and slots."""
    settings, has_mask = KINDS[kind]
    model = tiny_model(unpad_inputs=True, **settings)
    plans = []
    model.encoder.layer[0].register_forward_pre_hook(
        lambda module, args, kwargs: plans.append(kwargs["attention_mask"]), with_kwargs=True
    )
    model(**batch([23, 1, 14], [[0, 1, 2], [0], []] if has_mask else None))
    (plan,) = plans
    q_BHTD = torch.zeros(1, 2, 23 + 1 + 14 + 1, 8)
    rows = None
    if plan.slots is not None:
        q_BHGD = torch.zeros(1, 2, plan.slots.index_BG.shape[1], 8)
        rows = GlobalRows(plan.slots, q_BHGD, q_BHTD, q_BHTD)
    inputs = check_inputs(
        q_BHTD, q_BHTD, q_BHTD, plan.patterns[0], is_token_BT=None, is_global_BT=None, document_BT=None,
        documents=plan.documents, global_rows=rows, scale=None, dropout_p=0.0,
    )  # fmt: skip
    with monkeypatch.context() as patch:
        for look in ("cpu", "item", "tolist", "nonzero", "__bool__", "__int__", "numpy"):
            patch.setattr(torch.Tensor, look, None)
        of_flash = plan_of(inputs)
    assert not of_flash.blocks
    if kind != "local":
        assert of_flash.columns is not None and plan.slots.start_documents
        looked = plan.slots._replace(of_documents=None).by_document(plan.documents)
        assert [x for x in plan.slots.of_documents if x[0] < x[1]] == [x for x in looked.of_documents if x[0] < x[1]]


def test_global_tokens_inside_rows_are_found(tiny_model, batch):
    model = tiny_model(unpad_inputs=True)
    plans = []
    model.encoder.layer[0].register_forward_pre_hook(
        lambda module, args, kwargs: plans.append(kwargs["attention_mask"]), with_kwargs=True
    )
    model(**batch([23, 14], [[0, 7], [3]]))
    assert plans[0].slots.of_documents == ((0, 2), (2, 3), (0, 0)) and not plans[0].slots.start_documents


# --- documents packed by the caller ---


def packed(batch, lengths, global_tokens=None, **options):
    """The rows of `batch` concatenated in one row with their document ids, and the rows alone."""
    rows = [batch([n], None if global_tokens is None else [global_tokens[i]], seed=i) for i, n in enumerate(lengths)]
    together = {name: torch.cat([row[name] for row in rows], dim=1) for name in rows[0] if name != "attention_mask"}
    ids = torch.tensor([document for document, n in enumerate(lengths) for _ in range(n)])[None]
    return together | {"document_ids": 3 * ids}, rows


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("n_padding", [0, 2, 20])
def test_packed_documents_equal_separate_ones(tiny_model, batch, kind, n_padding):
    settings, has_mask = KINDS[kind]
    lengths, global_tokens = [13, 1, 22, 6], [[0, 12], [], [3, 4, 21], [5]]
    inputs, rows = packed(batch, lengths, global_tokens if has_mask else None)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    for name, x in inputs.items():
        value = {"input_ids": 1, "document_ids": 99}.get(name, 0)
        inputs[name] = torch.nn.functional.pad(x, (0, n_padding), value=value)
    model = tiny_model(**settings).double()
    together = model(**inputs)[0]
    assert together.shape[:2] == (1, sum(lengths) + n_padding)
    alone = torch.cat([model(**row)[0] for row in rows], dim=1)
    torch.testing.assert_close(together[:, : sum(lengths)], alone)


def test_packed_documents_through_the_language_modelling_head(tiny_model, batch):
    inputs, rows = packed(batch, [13, 4, 22])
    model = tiny_model("masked lm")
    alone = torch.cat([model(**row).logits for row in rows], dim=1)
    torch.testing.assert_close(model(**inputs).logits, alone, atol=1e-5, rtol=1e-4)
    positions = torch.cat([torch.arange(n) + 2 for n in (13, 4, 22)])[None]
    torch.testing.assert_close(model(**inputs, position_ids=positions).logits, alone, atol=1e-5, rtol=1e-4)


def test_attention_weights_of_packed_documents(tiny_model, batch):
    inputs, rows = packed(batch, [13, 22], [[0], [4]])
    weights = tiny_model()(**inputs, output_attentions=True)
    alone = tiny_model()(**rows[1], output_attentions=True)
    # Columns: the two global tokens of the row, of which the second document sees its own.
    torch.testing.assert_close(weights.attentions[0][:, :, 13:, 1:], alone.attentions[0])
    assert not weights.attentions[0][:, :, 13:, 0].any()
    torch.testing.assert_close(weights.global_attentions[1][:, :, 13:, 1:], alone.global_attentions[1])


def test_impossible_document_ids_are_named(tiny_model):
    ids = torch.full((1, 6), 5)
    with pytest.raises(InputError, match=r"document_ids has shape \(1, 5\)"):
        tiny_model()(ids, document_ids=torch.zeros(1, 5, dtype=torch.long))
    with pytest.raises(InputError, match="goes backwards in row 0 at token 3"):
        tiny_model()(ids, document_ids=torch.tensor([[0, 0, 1, 0, 1, 1]]))
