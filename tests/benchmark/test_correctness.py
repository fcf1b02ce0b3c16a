"""Wrong systems are not timed: outputs and gradients are compared with the reference first."""

import jaxtyping
import torch

from longspan.attention import AttentionPattern, backends
from longspan.benchmark.correctness import disagreement, disagreement_of_flex

PATTERN = AttentionPattern(256, 256, dilation=2, n_global=5)


def test_right_systems_are_accepted():
    for backend in ("blocked", "reference"):
        assert disagreement(PATTERN, backend, "float32", "cpu", 8) is None


def test_wrong_or_failing_systems_are_rejected(monkeypatch):
    def with_error(size):
        def wrong(inputs):
            return backends.BACKENDS["reference"].attend(inputs) + size

        return wrong

    def fails(inputs):
        raise RuntimeError("no such kernel")

    for name, function in (("off", with_error(1e-3)), ("nan", with_error(torch.nan)), ("fails", fails)):
        line = backends.Backend(function, lambda request: None, "a test")
        monkeypatch.setitem(backends.BACKENDS, name, line)
    assert "disagrees with the reference by 4" in disagreement(PATTERN, "off", "float32", "cpu", 8, with_grad=False)
    assert "by nan" in disagreement(PATTERN, "nan", "float32", "cpu", 8)
    assert "no such kernel" in disagreement(PATTERN, "fails", "float32", "cpu", 8)


def test_flex_attention_with_our_blocks_is_the_reference(monkeypatch):
    # What checks shapes in tests cannot be traced.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for pattern in (
        PATTERN,
        AttentionPattern(300, 0, causal=True),
        AttentionPattern(130, 40, dilation=(1, 3), n_global=140),
    ):
        assert disagreement_of_flex(pattern, "float32", "cpu", 16) is None
