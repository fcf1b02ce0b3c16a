"""Outputs, losses and gradients equal transformers' Longformer with the same random weights, to 1e-4."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.parity

# Windows, row lengths, global tokens of each row. transformers needs its largest window to be a multiple of the others,
# and cannot do window 2 (below).
CASES = {
    "one token": ([4, 8], [1], None),
    "short rows": (4, [7, 3], [[], []]),
    "window longer than the input": (64, [7, 5], [[0], [0]]),
    "63 tokens, globals differ by row": ([4, 8], [63, 40], [[0, 1, 2], [39]]),
    "all tokens global": (8, [7, 7], [range(7), range(7)]),
    "all tokens of one row global, none of another": (8, [20, 31, 9], [range(20), [], [3]]),
    "global token at the end, inside a window, before padding": ([12, 4], [63, 50], [[62, 30], [49, 0]]),
    "512 tokens, window 512": (512, [512], [[0]]),
    "513 tokens, window 512": (512, [513], [[0, 512]]),
    "1000 tokens": ([16, 64], [1000, 513], [[0, 5], [512]]),
    "4096 tokens": ([32, 64], [4096], [[0, 1, 2, 4000]]),
}


@pytest.mark.parametrize("case", list(CASES))
def test_hidden_states_and_gradients_equal_transformers(pair, batch, assert_same, case):
    window, lengths, global_tokens = CASES[case]
    stock, ours = pair(attention_window=window, max_position_embeddings=max(lengths) + 2)
    assert_same(stock, ours, batch(lengths, global_tokens))


@pytest.mark.parametrize("head", ["base", "masked lm"])
def test_two_token_types_equal_transformers(pair, batch, assert_same, head):
    stock, ours = pair(head, type_vocab_size=2)
    inputs = batch([37, 20], [[0], [3]], n_types=2)
    assert_same(stock, ours, inputs | ({"labels": inputs["input_ids"]} if head == "masked lm" else {}))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_small_batch_equals_transformers(pair, batch, assert_same, data):
    windows = data.draw(st.sampled_from([4, 12, [4, 8], [12, 6], [6, 6]]), label="windows")
    lengths = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=3), label="lengths")
    global_tokens = [
        data.draw(st.lists(st.integers(0, length - 1), unique=True, max_size=length), label="global tokens")
        for length in lengths
    ]
    stock, ours = pair(attention_window=windows)
    assert_same(stock, ours, batch(lengths, global_tokens))


def test_window_2_works_where_transformers_fails(pair, batch, assert_same):
    inputs = batch([63, 40], [[0, 5], [39]])
    stock, ours = pair(attention_window=2)
    with pytest.raises(RuntimeError, match="must match"):
        stock(**inputs)
    # A second oracle: a wider window, all of which but the two neighbours is hidden by hand.
    assert_same(_hide_beyond_one_step(pair(attention_window=4)[0]), ours, inputs)


def _hide_beyond_one_step(stock: torch.nn.Module) -> torch.nn.Module:
    """Hide the outer columns of the window of a stock model with window 4."""
    for layer in stock.encoder.layer:
        attention = layer.attention.self
        matmul = attention._sliding_chunks_query_key_matmul

        def narrow(query, key, reach, matmul=matmul):
            score = matmul(query, key, reach)
            is_outer = torch.tensor([True, False, False, False, True])
            return score.masked_fill(is_outer, -1e9) if score.shape[2] > 1 else score

        attention._sliding_chunks_query_key_matmul = narrow
    return stock


HEAD_INPUTS = {
    "masked lm": {"labels": torch.tensor([[5, -100, 7], [-100, 9, -100]])},
    "question answering": {"start_positions": torch.tensor([9, 0]), "end_positions": torch.tensor([12, 99])},
    "sequence classification": {"labels": torch.tensor([1, 0])},
    "token classification": {"labels": torch.tensor([[1, -100, 0], [1, 1, -100]])},
}


@pytest.mark.parametrize("with_mask", [False, True], ids=["automatic global tokens", "a global mask"])
@pytest.mark.parametrize("head", list(HEAD_INPUTS))
def test_head_equals_transformers(pair, batch, assert_same, head, with_mask):
    stock, ours = pair(head)
    inputs = batch([37, 29], [[0, 20], [28]] if with_mask else None, separators=(4, 5, 28))
    targets = dict(HEAD_INPUTS[head])
    if "labels" in targets and targets["labels"].dim() == 2:
        targets["labels"] = torch.nn.functional.pad(targets["labels"], (0, 34), value=-100)
    assert_same(stock, ours, inputs | targets)


@pytest.mark.parametrize(
    ("problem", "labels", "n_labels"),
    [
        ("regression", torch.tensor([0.5, -1.0]), 1),
        ("regression", torch.tensor([[0.5, 1, 2], [0, 1, 0.25]]), 3),
        ("multi_label_classification", torch.tensor([[1.0, 0, 1], [0, 0, 1]]), 3),
    ],
)
def test_sequence_classification_losses_equal_transformers(pair, batch, assert_same, problem, labels, n_labels):
    stock, ours = pair("sequence classification", num_labels=n_labels, problem_type=problem)
    assert_same(stock, ours, batch([9, 12]) | {"labels": labels})
    assert stock.config.problem_type == ours.config.problem_type


@pytest.mark.parametrize("with_mask", [False, True], ids=["automatic global tokens", "a global mask"])
def test_multiple_choice_equals_transformers(pair, batch, assert_same, with_mask):
    stock, ours = pair("multiple choice")
    flat = batch([21, 17, 20, 21], [[0], [1], [2], [3]] if with_mask else None, separators=(4, 5, 16))
    inputs = {name: values.view(2, 2, -1) for name, values in flat.items()}
    assert_same(stock, ours, inputs | {"labels": torch.tensor([1, 0])})


def test_problem_type_is_found_as_in_transformers(pair, batch):
    for labels, n_labels in ((torch.tensor([1]), 2), (torch.tensor([[1.0, 0.0]]), 2), (torch.tensor([0.3]), 1)):
        stock, ours = pair("sequence classification", num_labels=n_labels)
        losses = [model(**batch([9]), labels=labels).loss for model in (stock, ours)]
        torch.testing.assert_close(losses[1], losses[0])
        assert stock.config.problem_type == ours.config.problem_type


def test_attention_weights_have_transformers_layout(pair, batch):
    stock, ours = pair()
    inputs = batch([24, 16], [[0, 10], [3]])
    expected, found = (model(**inputs, output_attentions=True) for model in (stock, ours))
    for layer in range(2):
        assert found.attentions[layer].shape == expected.attentions[layer].shape == (2, 2, 24, 2 + 8 + 1)
        torch.testing.assert_close(found.attentions[layer], expected.attentions[layer], atol=1e-5, rtol=1e-4)
        assert found.global_attentions[layer].shape == expected.global_attentions[layer].shape == (2, 2, 24, 2)
        is_used = torch.tensor([[True, True], [True, False]])[:, None, None, :]
        # transformers leaves something in unused slots; ours are zero.
        wanted = expected.global_attentions[layer] * is_used
        torch.testing.assert_close(found.global_attentions[layer], wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", ["base", "question answering", "masked lm"])
def test_tuples_hold_what_transformers_tuples_hold(pair, batch, head):
    stock, ours = pair(head)
    inputs = batch([24, 16], [[0, 10], [3]])
    for flags in ({}, {"output_attentions": True}, {"output_hidden_states": True, "output_attentions": True}):
        expected, found = (model(**inputs, **flags, return_dict=False) for model in (stock, ours))
        assert len(expected) == len(found)
        assert [type(x) for x in expected] == [type(x) for x in found]
        torch.testing.assert_close(found[0], expected[0], atol=1e-4, rtol=1e-4)


def test_inputs_embeds_and_position_ids_equal_transformers(pair, batch):
    stock, ours = pair()
    inputs = batch([24, 16], [[0, 10], [3]])
    embeds = stock.embeddings.word_embeddings(inputs.pop("input_ids"))
    position_ids = torch.arange(24).flip(0)[None] + 5
    for positions in ({}, {"position_ids": position_ids}):
        expected, found = (model(inputs_embeds=embeds, **positions, **inputs)[0] for model in (stock, ours))
        for row, length in enumerate((24, 16)):
            torch.testing.assert_close(found[row, :length], expected[row, :length], atol=1e-4, rtol=1e-4)


def test_chunked_feed_forward_equals_transformers(pair, batch, assert_same):
    stock, ours = pair(chunk_size_feed_forward=4)
    assert_same(stock, ours, batch([24, 16], [[0], [3]]))
