"""Task heads: their automatic global tokens and their losses."""

import logging

import pytest
import torch
from transformers.utils import logging as transformers_logging

from longspan.errors import InputError
from longspan.models.heads.shared import after_first_separators, before_first_separator

S, P = 2, 1  # separator and padding


def ids(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows)


def positions(mask: torch.Tensor) -> list[list[int]]:
    return [row.nonzero().flatten().tolist() for row in mask]


def test_question_ends_at_the_first_separator():
    rows = ids(
        [0, 5, 6, S, 7, 8, 9, S, P, P],  # BERT: two
        [0, 5, S, S, 7, 8, 9, 9, S, P],  # RoBERTa: three
        [0, 5, 6, 7, S, 7, S, 9, S, 9],  # a context with separators of its own
        [P, P, 0, 5, 6, S, 8, 9, 9, S],  # padded on the left; the mask takes the padding out
    )
    assert positions(before_first_separator(rows, S)) == [[0, 1, 2], [0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4]]


def test_second_text_starts_after_the_first_separators():
    rows = ids([0, 5, 6, S, 7, 8, S, P], [0, 5, S, S, 7, 8, S, P], [0, 5, S, 6, S, 8, 9, S], [0, 5, 6, 7, 8, 8, 8, S])
    found = after_first_separators(rows, S)
    assert positions(found) == [[4, 5, 6, 7], [4, 5, 6, 7], [3, 4, 5, 6, 7], []]


def test_row_without_separator_warns_once(caplog, monkeypatch):
    transformers_logging.set_verbosity_warning()
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    logger = transformers_logging.get_logger("longspan.models.heads.shared")
    transformers_logging.warning_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger.name):
        rows = ids([0, 5, 6, 7], [0, S, 8, S])
        assert positions(before_first_separator(rows, S)) == [[], [0]]
        assert positions(before_first_separator(rows, S)) == [[], [0]]
        assert positions(after_first_separators(rows, None)) == [[], []]
    messages = [record.getMessage() for record in caplog.records]
    assert sum("sep_token_id is 2" in message for message in messages) == 1
    assert sum("sep_token_id is None" in message for message in messages) == 1


@pytest.mark.parametrize("separators", [(4, 20), (4, 5, 20), (4, 9, 13, 20)], ids=["BERT", "RoBERTa", "more"])
@pytest.mark.parametrize("left", [False, True], ids=["padded right", "padded left"])
def test_question_answering_makes_the_question_global(tiny_model, batch, separators, left):
    model = tiny_model("question answering")
    automatic = model(**batch([25, 21], separators=separators, left=left))
    named = model(**batch([25, 21], [range(4), range(4)], separators=separators, left=left))
    torch.testing.assert_close(automatic.start_logits, named.start_logits)
    local = model(**batch([25, 21], [[], []], separators=separators, left=left))
    assert not torch.allclose(automatic.start_logits, local.start_logits)


def test_row_does_not_depend_on_the_batch(tiny_model, batch):
    model = tiny_model("question answering")
    inputs = batch([25, 14, 9], separators=(4, 7))
    inputs["input_ids"][2, 1] = S  # a shorter question
    together = model(**inputs)
    for row, length in enumerate((25, 14, 9)):
        alone = model(**{name: x[row : row + 1, :length] for name, x in inputs.items()})
        torch.testing.assert_close(together.end_logits[row, :length], alone.end_logits[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("left", [False, True], ids=["padded right", "padded left"])
def test_classification_skips_padding_on_the_left(tiny_model, batch, left):
    model = tiny_model("sequence classification")
    inputs = batch([25, 14], left=left)
    together = model(**inputs).logits
    for row, length in enumerate((25, 14)):
        alone = model(inputs["input_ids"][row : row + 1, slice(-length, None) if left else slice(length)]).logits
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-4)
    first = batch([25, 14], [[0], [0]], left=left)
    torch.testing.assert_close(together, model(**first).logits)
    by_embeddings = {"inputs_embeds": model.get_input_embeddings()(inputs["input_ids"])}
    by_embeddings["attention_mask"] = inputs["attention_mask"]
    torch.testing.assert_close(together, model(**by_embeddings).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", ["masked lm", "token classification"])
def test_other_heads_make_no_token_global(tiny_model, batch, head):
    model = tiny_model(head)
    inputs = batch([25, 14], separators=(4,))
    torch.testing.assert_close(model(**inputs).logits, model(**batch([25, 14], [[], []], separators=(4,))).logits)


@pytest.mark.parametrize("head", ["question answering", "sequence classification"])
def test_heads_leave_a_configured_global_set_alone(tiny_model, batch, head):
    inputs = batch([25, 14], separators=(6, 9))
    found = tiny_model(head, global_attention_size=3)(**inputs)[0]
    expected = tiny_model(head)(**batch([25, 14], [range(3), range(3)], separators=(6, 9)))[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("head", "shape", "message"),
    [
        ("question answering", (9,), r"\(rows, tokens\), not \(9,\)"),
        ("sequence classification", (9,), r"\(9,\)"),
        ("multiple choice", (2, 9), r"\(rows, choices, tokens\).*not \(2, 9\)"),
    ],
)
def test_ids_of_another_shape_are_named(tiny_model, head, shape, message):
    with pytest.raises(InputError, match=message):
        tiny_model(head)(torch.full(shape, 5))


def test_heads_name_a_mask_of_another_shape(tiny_model):
    with pytest.raises(InputError, match="attention_mask has shape"):
        tiny_model("sequence classification")(torch.full((1, 4), 5), attention_mask=torch.ones(4))


def test_question_answering_with_other_labels_is_refused(tiny_model):
    with pytest.raises(InputError, match="num_labels is 3; load with num_labels=2"):
        tiny_model("question answering", num_labels=3)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_classifier_activation(tiny_model, batch, activation):
    model = tiny_model("sequence classification")
    model.config.classifier_activation = activation  # read at each forward
    hidden = model.longformer(**batch([9], [[0]]))[0][:, 0]
    between = getattr(torch.nn.functional, activation)(model.classifier.dense(hidden))
    torch.testing.assert_close(model(**batch([9])).logits, model.classifier.out_proj(between))


def test_loss_without_targets_is_zero_not_nan(tiny_model, batch):
    inputs = batch([9, 5], separators=(3,))
    nowhere = torch.full((2, 9), -100)
    for head, labels in (
        ("masked lm", {"labels": nowhere}),
        ("token classification", {"labels": nowhere}),
        ("question answering", {"start_positions": torch.tensor([9, 70]), "end_positions": torch.tensor([9, 70])}),
    ):
        loss = tiny_model(head)(**inputs, **labels).loss
        loss.backward()
        assert loss == 0


def test_loss_is_a_share_of_the_accumulated_mean(tiny_model, batch):
    """With accumulated gradients, the Trainer needs shares whose sum is the mean over all targets."""
    generator = torch.Generator().manual_seed(2)
    whole = batch([9, 5, 9, 7], separators=(3,))
    cases = {
        "masked lm": torch.randint(-1, 30, (4, 9), generator=generator),
        "token classification": torch.randint(-1, 2, (4, 9), generator=generator),
        "sequence classification": torch.tensor([0, 1, 1, 0]),
    }
    for head, drawn in cases.items():
        labels = drawn.masked_fill(drawn < 0, -100)
        model = tiny_model(head)
        n_items = (labels != -100).sum()
        shares = [
            model(**{name: x[rows] for name, x in whole.items()}, labels=labels[rows], num_items_in_batch=n_items).loss
            for rows in (slice(0, 1), slice(1, 4))
        ]
        torch.testing.assert_close(sum(shares), model(**whole, labels=labels).loss)
    for problem, labels in (
        ("regression", torch.rand(4, 3, generator=generator)),
        ("multi_label_classification", torch.tensor([[1.0, 0, 1]] * 4)),
    ):
        model = tiny_model("sequence classification", num_labels=3, problem_type=problem)
        n_items = labels.numel()
        shares = [
            model(**{name: x[rows] for name, x in whole.items()}, labels=labels[rows], num_items_in_batch=n_items).loss
            for rows in (slice(0, 1), slice(1, 4))
        ]
        torch.testing.assert_close(sum(shares), model(**whole, labels=labels).loss)
