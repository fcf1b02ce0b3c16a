"""Every wrong argument has its own error message, the same for every backend."""

import pytest
import torch

from longspan.attention import AttentionPattern, Documents, GlobalRows, GlobalSlots, attend, attention_weights, call
from longspan.errors import InputError

B, H, T, D = 2, 3, 10, 4
X = torch.zeros(B, H, T, D)
MASK = torch.ones(B, T, dtype=torch.bool)
PATTERN = AttentionPattern(2, 2)
SLOTS = GlobalSlots(torch.zeros(B, 1, dtype=torch.int64), torch.ones(B, 1, dtype=torch.bool))
ROWS = GlobalRows(SLOTS, torch.zeros(B, H, 1, D), X, X)
TWICE = GlobalRows(
    GlobalSlots(torch.tensor([[1, 4], [4, 4]]), torch.ones(B, 2, dtype=torch.bool)), torch.zeros(B, H, 2, D), X, X
)
IDS = torch.zeros(B, T, dtype=torch.int64)

WRONG = [
    ({"q_BHTD": X[0]}, r"q_BHTD must have 4 dimensions .*, not shape \(3, 10, 4\)"),
    ({"k_BHTD": X.tolist()}, "k_BHTD must be a torch tensor, not list"),
    ({"q_BHTD": X.long()}, "q_BHTD must hold floating-point numbers, not torch.int64"),
    ({"v_BHTD": X.int()}, "v_BHTD must hold floating-point numbers, not torch.int32"),
    ({"k_BHTD": X[:, :2]}, "k_BHTD differs from q_BHTD in heads: 2, not 3"),
    ({"k_BHTD": X[:, :, :9]}, "k_BHTD differs from q_BHTD in tokens: 9, not 10"),
    ({"v_BHTD": X[:1]}, "v_BHTD differs from q_BHTD in batch rows: 1, not 2"),
    ({"v_BHTD": X[..., :3]}, "v_BHTD differs from q_BHTD in width per head: 3, not 4"),
    ({"k_BHTD": X.double()}, "k_BHTD is torch.float64 but q_BHTD is torch.float32"),
    ({"v_BHTD": X.to("meta")}, "v_BHTD is on meta but q_BHTD is on cpu"),
    (dict.fromkeys(("q_BHTD", "k_BHTD", "v_BHTD"), X[:, :, :0]), "q_BHTD is empty"),
    ({"pattern": 512}, "pattern must be an AttentionPattern, not int"),
    ({"pattern": AttentionPattern(2, 2, dilation=(1, 2))}, "dilations for 2 heads, the tensors have 3"),
    ({"is_token_BT": MASK[:1]}, r"is_token_BT must have shape \(2, 10\) \(rows, tokens\), not \(1, 10\)"),
    ({"is_token_BT": MASK.long()}, r"is_token_BT must be bool .*, not torch.int64; try is_token_BT.bool\(\)"),
    ({"is_token_BT": MASK.tolist()}, "is_token_BT must be a torch tensor, not list"),
    ({"is_global_BT": MASK[:, :4]}, r"is_global_BT must have shape \(2, 10\)"),
    ({"is_global_BT": MASK.float()}, "is_global_BT must be bool"),
    ({"is_global_BT": MASK.to("meta")}, "is_global_BT is on meta"),
    ({"document_BT": IDS[:, :3]}, r"document_BT must have shape \(2, 10\)"),
    ({"document_BT": IDS.float()}, "document_BT must hold whole numbers"),
    ({"document_BT": [0]}, "document_BT must be a torch tensor, not list"),
    ({"document_BT": IDS.to("meta")}, "document_BT is on meta"),
    ({"document_BT": torch.tensor([[0] * 10, [0, 1, 2, 1, 3, 3, 3, 3, 3, 3]])}, "backwards in row 1 at token 3"),
    ({"documents": IDS}, r"documents must be Documents \(Documents.find makes them\), not Tensor"),
    ({"documents": Documents(IDS[:, :3], ())}, r"documents.id_BT must have shape \(2, 10\)"),
    ({"documents": Documents(IDS, ((0, 0, 11),))}, r"documents.bounds .* within 2 rows of 10 tokens; \(0, 0, 11\) is"),
    ({"documents": Documents(IDS, ((1, 0, 4), (0, 0, 4)))}, r"documents.bounds .*; \(0, 0, 4\) is not"),
    ({"documents": Documents(IDS, ((0, 0, 4), (0, 3, 6)))}, r"documents.bounds .*; \(0, 3, 6\) is not"),
    ({"documents": Documents(IDS, ((2, 0, 4),))}, r"documents.bounds .*; \(2, 0, 4\) is not"),
    ({"documents": Documents(IDS, ()), "document_BT": IDS}, "document_BT and documents say the same"),
    ({"dropout_p": 1.0}, "dropout_p is a probability from 0 to below 1, not 1.0"),
    ({"dropout_p": -0.1}, "dropout_p"),
    ({"dropout_p": True}, "dropout_p"),
    ({"scale": float("nan")}, "scale must be a finite number, not nan"),
    ({"global_rows": ROWS._replace(q_BHGD=X)}, r"global_rows.q_BHGD must have shape \(2, 3, 1, 4\)"),
    ({"global_rows": ROWS._replace(k_BHTD=X[:, :2])}, r"global_rows.k_BHTD must have shape \(2, 3, 10, 4\)"),
    ({"global_rows": ROWS._replace(v_BHTD=X.double())}, "global_rows.v_BHTD is torch.float64"),
    ({"global_rows": ROWS._replace(slots=GlobalSlots(SLOTS.index_BG[0], SLOTS.is_used_BG))}, r"slots must hold two"),
    ({"global_rows": ROWS._replace(slots=GlobalSlots(SLOTS.index_BG.int(), SLOTS.is_used_BG))}, "int64 and bool"),
    ({"global_rows": ROWS._replace(slots=GlobalSlots(SLOTS.index_BG + 10, SLOTS.is_used_BG))}, "outside 0 to 9"),
    ({"global_rows": TWICE}, "global_rows.slots hold position 4 more than once in a row"),
    ({"global_rows": TWICE, "is_global_BT": MASK}, "position 4 more than once"),
    ({"global_rows": ROWS, "pattern": AttentionPattern(2, 2, n_global=2)}, "first 2 positions are global, but not all"),
    ({"global_rows": ROWS, "is_global_BT": MASK}, "name different tokens"),
    ({"backend": "fast"}, "no attention backend is called 'fast'; choose auto or one of .*blocked, .*reference"),
]


@pytest.mark.parametrize("backend", ["auto", "reference", "blocked", "chunked"])
@pytest.mark.parametrize(("changed", "message"), WRONG)
def test_wrong_arguments_are_named(changed, message, backend, unchecked_shapes):
    arguments = {"q_BHTD": X, "k_BHTD": X, "v_BHTD": X, "pattern": PATTERN, "backend": backend, **changed}
    with pytest.raises(InputError, match=message):
        attend(**arguments)


def test_weights_check_the_same(unchecked_shapes):
    with pytest.raises(InputError, match="k_BHTD differs from q_BHTD in heads"):
        attention_weights(X, X[:, :2], PATTERN)


def test_document_ids_at_padding_are_ignored():
    document_BT = torch.tensor([[-1, 3, 0, 5, 5, 5, 5, 5, -1, -1]] * B)
    is_token_BT = torch.tensor([[False, True, False, True, True, True, True, True, False, False]] * B)
    attend(X, X, X, PATTERN, document_BT=document_BT, is_token_BT=is_token_BT)


def test_mask_that_repeats_the_slots_is_accepted():
    is_global_BT = torch.zeros(B, T, dtype=torch.bool)
    is_global_BT[:, 0] = True
    attend(X, X, X, PATTERN, global_rows=ROWS, is_global_BT=is_global_BT)


def test_mask_beside_repeated_slots_is_read_once(monkeypatch):
    """On a device the comparison with the mask also finds repeated slots, without waiting again."""
    is_global_BT = torch.zeros(B, T, dtype=torch.bool)
    is_global_BT[:, 4] = is_global_BT[0, 1] = True
    monkeypatch.setattr(call, "_can_read_values", lambda x: False)
    with pytest.raises(InputError, match="position 4 more than once"):
        attend(X, X, X, PATTERN, global_rows=TWICE, is_global_BT=is_global_BT)
