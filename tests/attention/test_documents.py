"""`Documents`: found from ids once, or made from lengths; given to `attend` in place of the ids."""

import pytest
import torch

from longspan.attention import AttentionPattern, Documents, attend, attention_weights
from longspan.errors import InputError


def test_bounds_enclose_each_document():
    document_BT = torch.tensor([[0, 0, 1, 1, 1, 7], [3, 3, 3, 3, 3, 3], [-5, 2, 2, 4, 4, 4]])
    found = Documents.find(document_BT)
    assert found.id_BT.equal(document_BT)
    assert found.bounds == ((0, 0, 2), (0, 2, 5), (0, 5, 6), (1, 0, 6), (2, 0, 1), (2, 1, 3), (2, 3, 6))


def test_padding_is_outside_bounds_unless_inside_a_document():
    """x: padding, whatever its id.   x A A x A x B x   x x x x x x x x   A B B B B B x x"""
    document_BT = torch.tensor([[9, 1, 1, 0, 1, 7, 2, 2], [3] * 8, [0, 1, 1, 1, 1, 1, 0, -9]], dtype=torch.int32)
    is_token_BT = torch.tensor([[0, 1, 1, 0, 1, 0, 1, 0], [0] * 8, [1, 1, 1, 1, 1, 1, 0, 0]]).bool()
    found = Documents.find(document_BT, is_token_BT)
    assert found.id_BT.dtype == torch.int64
    assert found.bounds == ((0, 1, 5), (0, 6, 7), (2, 0, 1), (2, 1, 6))
    assert Documents.find(document_BT, torch.zeros_like(is_token_BT)).bounds == ()


def test_lengths_make_one_packed_row():
    made = Documents.of_lengths([3, 1, 2])
    assert made.id_BT.tolist() == [[0, 0, 0, 1, 2, 2]]
    assert made.bounds == Documents.find(made.id_BT).bounds == ((0, 0, 3), (0, 3, 4), (0, 4, 6))
    for wrong in ([], [3, 0]):
        with pytest.raises(InputError, match="at least one token"):
            Documents.of_lengths(wrong)


def test_decreasing_ids_are_named():
    document_BT = torch.tensor([[0, 0, 1, 1], [0, 1, 2, 1]])
    with pytest.raises(InputError, match="backwards in row 1 at token 3"):
        Documents.find(document_BT)
    is_token_BT = torch.tensor([[True] * 4, [True, True, False, True]])
    assert Documents.find(document_BT, is_token_BT).bounds == ((0, 0, 2), (0, 2, 4), (1, 0, 1), (1, 1, 4))


@pytest.mark.parametrize("backend", ["reference", "blocked"])
def test_documents_equal_their_ids(backend, make_case):
    pattern = AttentionPattern(4, 4, n_global=1)
    case = make_case(
        seed=0, n_rows=2, n_heads=2, n_tokens=60, width=4, pattern=pattern, documents=True, padding="right"
    )
    document_BT, is_token_BT = case.masks["document_BT"], case.masks["is_token_BT"]
    by_ids = attend(*case[:4], **case.masks, backend=backend)
    documents = Documents.find(document_BT, is_token_BT)
    found = attend(*case[:4], is_token_BT=is_token_BT, documents=documents, backend=backend)
    assert found.equal(by_ids)


def test_weights_take_documents_too(make_case):
    case = make_case(seed=0, n_rows=1, n_heads=2, n_tokens=30, width=4, pattern=AttentionPattern(4, 4), documents=True)
    one = attention_weights(*case[:2], case.pattern, document_BT=case.masks["document_BT"])
    other = attention_weights(*case[:2], case.pattern, documents=Documents.find(case.masks["document_BT"]))
    assert one[0].equal(other[0])
