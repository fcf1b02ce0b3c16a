"""The caches by tensor identity and by size."""

import gc

import pytest
import torch

from longspan.attention.tensor_cache import ByteLimitedCache, TensorKeyedCache


@pytest.fixture
def memory():
    return TensorKeyedCache(3)


def test_equal_keys_find_the_cached_value(memory):
    x, y = torch.zeros(2), torch.zeros(2)
    made = memory.get((x, None), "a", object)
    assert memory.get((x, None), "a", object) is made
    for tensors, others in (((y, None), "a"), ((None, x), "a"), ((x, x), "a"), ((x, None), "b"), ((None, None), "a")):
        assert memory.get(tensors, others, object) is not made


def test_change_in_place_makes_a_new_key(memory):
    x = torch.zeros(2)
    made = memory.get((x,), 0, object)
    x[0] = 1
    assert memory.get((x,), 0, object) is not made


def test_tensors_made_in_inference_mode_are_not_cached(memory):
    with torch.inference_mode():
        x = torch.zeros(2)
        assert memory.get((x,), 0, object) is not memory.get((x,), 0, object)
    y = torch.zeros(2)
    with torch.inference_mode():
        assert memory.get((y,), 0, object) is memory.get((y,), 0, object)


def test_value_cached_in_inference_mode_allows_a_backward(memory):
    with torch.inference_mode():
        memory.get((), 0, lambda: torch.ones(2))
    x = torch.ones(2, requires_grad=True)
    (x * memory.get((), 0, lambda: torch.zeros(2))).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1, 1]


def test_dead_then_oldest_entries_are_dropped(memory):
    kept = memory.get((), 0, object)
    x = torch.zeros(2)
    memory.get((x,), 1, object)
    memory.get((), 2, object)
    del x
    gc.collect()
    memory.get((), 3, object)
    assert memory.get((), 0, object) is kept
    memory.get((), 4, object)
    assert memory.get((), 0, object) is not kept


def test_recently_used_tensors_are_kept_up_to_a_limit():
    kept = ByteLimitedCache(100)
    small = {name: kept.get(name, lambda: torch.zeros(10)) for name in "ab"}
    assert kept.get("a", lambda: torch.ones(1)) is small["a"]
    third = kept.get("c", lambda: torch.zeros(10))
    assert kept.get("a", lambda: torch.ones(1)) is small["a"] and kept.get("c", lambda: torch.ones(1)) is third
    assert kept.get("b", lambda: torch.ones(1)) is not small["b"]
    large = kept.get("d", lambda: torch.zeros(26))
    assert kept.get("d", lambda: torch.zeros(26)) is not large
    assert kept.get("a", lambda: torch.ones(1)) is small["a"]  # what is too large sends nothing away
