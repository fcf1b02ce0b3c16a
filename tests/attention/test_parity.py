"""The second oracle: transformers' LongformerSelfAttention with random weights."""

import pytest
import torch

from longspan.attention import AttentionPattern, GlobalRows, GlobalSlots, attend, attention_weights

pytestmark = pytest.mark.parity
H, D, T, WINDOW = 3, 8, 48, 8


@pytest.fixture(scope="module")
def theirs():
    from transformers import LongformerConfig
    from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

    torch.manual_seed(0)
    config = LongformerConfig(hidden_size=H * D, num_attention_heads=H, attention_window=[WINDOW])
    return LongformerSelfAttention(config, 0).eval()


def split(x_BTC: torch.Tensor) -> torch.Tensor:
    return x_BTC.unflatten(-1, (H, D)).transpose(1, 2)


@pytest.mark.parametrize("globals_of_rows", [[[], []], [[0], [0]], [[0, 7, 20], [5]], [list(range(40)), [1, 2]]])
@pytest.mark.parametrize("backend", ["reference", "blocked"])
def test_output_gradients_and_probabilities_equal_transformers(theirs, globals_of_rows, backend):
    is_token_BT = torch.arange(T) < torch.tensor([[T], [29]])
    is_global_BT = torch.zeros(2, T, dtype=torch.bool)
    for row, positions in enumerate(globals_of_rows):
        is_global_BT[row, positions] = True
    hidden_BTC = torch.randn(2, T, H * D, generator=torch.Generator().manual_seed(1), requires_grad=True)

    mask_BT = torch.where(is_token_BT, 0.0, -10000.0).masked_fill(is_global_BT, 10000.0)
    out, local, *their_global = theirs(
        hidden_BTC,
        attention_mask=mask_BT,
        is_index_masked=~is_token_BT,
        is_index_global_attn=is_global_BT,
        is_global_attn=bool(is_global_BT.any()),
        output_attentions=True,
    )

    slots = GlobalSlots.find(is_global_BT)
    rows = None
    if slots is not None:
        at_slots_BGC = hidden_BTC[torch.arange(2)[:, None], slots.index_BG]
        rows = GlobalRows(
            slots,
            split(theirs.query_global(at_slots_BGC)),
            split(theirs.key_global(hidden_BTC)),
            split(theirs.value_global(hidden_BTC)),
        )
    q, k, v = (split(layer(hidden_BTC)) for layer in (theirs.query, theirs.key, theirs.value))
    pattern = AttentionPattern.from_attention_window(WINDOW)
    ours_BHTD = attend(q, k, v, pattern, is_token_BT=is_token_BT, global_rows=rows, backend=backend)
    ours_BTC = ours_BHTD.transpose(1, 2).flatten(2)
    real = is_token_BT[:, :, None]
    assert torch.allclose(ours_BTC * real, out * real, atol=1e-5)

    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)) * real
    variables = [hidden_BTC, *theirs.parameters()]
    their_grads = torch.autograd.grad((out * weight).sum(), variables, allow_unused=True)
    our_grads = torch.autograd.grad((ours_BTC * weight).sum(), variables, allow_unused=True)
    for mine, true in zip(our_grads, their_grads, strict=True):
        assert (mine is None) == (true is None)
        assert mine is None or torch.allclose(mine, true, atol=1e-4)

    ours_local, ours_global = attention_weights(q, k, pattern, is_token_BT=is_token_BT, global_rows=rows)
    assert torch.allclose(ours_local.transpose(1, 2), local, atol=1e-6)
    if slots is not None:
        is_used = slots.is_used_BG[:, None, :, None]
        assert torch.allclose(ours_global, their_global[0] * is_used, atol=1e-6)
