"""What users may lean on: names, parameters and defaults. A change here is a change of the interface: CHANGELOG.md."""

import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest

import longspan
import longspan.attention
import longspan.models

NAMES = {
    "longspan": [
        "LongformerConfig",
        "LongformerForMaskedLM",
        "LongformerForMultipleChoice",
        "LongformerForQuestionAnswering",
        "LongformerForSequenceClassification",
        "LongformerForTokenClassification",
        "LongformerModel",
        "extend",
        "register",
        "use_fast_attention",
    ],
    "longspan.attention": [
        "AttentionPattern",
        "BackendChoice",
        "BackendRequest",
        "Documents",
        "FoldedGlobalRows",
        "GlobalRows",
        "GlobalSlots",
        "attend",
        "attention_weights",
        "explain",
        "select",
    ],
    "longspan.models": [
        "LongformerConfig",
        "LongformerForMaskedLM",
        "LongformerForMultipleChoice",
        "LongformerForQuestionAnswering",
        "LongformerForSequenceClassification",
        "LongformerForTokenClassification",
        "LongformerModel",
        "LongformerPreTrainedModel",
        "register",
        "stop_fast_attention",
        "unregister",
        "use_fast_attention",
    ],
}

_INPUTS = "input_ids=None, attention_mask=None, global_attention_mask=None, token_type_ids=None, position_ids=None"
_OUTPUTS = "output_attentions=None, output_hidden_states=None, return_dict=None, **kwargs"

SIGNATURES = {
    "longspan.extend.extension.extend": (
        "model_or_name, tokenizer=None, max_tokens=4096, attention_window=512, positions='copy', *, proof='full', "
        "texts=None, allow_pickle=False, seed=0"
    ),
    "longspan.register": "",
    "longspan.use_fast_attention": "model",
    "longspan.attention.attend": (
        "q_BHTD, k_BHTD, v_BHTD, pattern, *, is_token_BT=None, is_global_BT=None, document_BT=None, documents=None, "
        "global_rows=None, scale=None, dropout_p=0.0, backend='auto'"
    ),
    "longspan.attention.attention_weights": (
        "q_BHTD, k_BHTD, pattern, *, is_token_BT=None, is_global_BT=None, document_BT=None, documents=None, "
        "global_rows=None, scale=None"
    ),
    "longspan.attention.AttentionPattern": "left, right, dilation=1, causal=False, n_global=0",
    "longspan.attention.AttentionPattern.from_attention_window": (
        "attention_window, *, dilation=1, causal=False, n_global=0"
    ),
    "longspan.attention.AttentionPattern.as_array": "self, n_tokens, *, head=0",
    "longspan.attention.AttentionPattern.draw": "self, n_tokens, *, head=0",
    "longspan.report.pattern_picture.save_pattern_picture": "patterns, path",
    "longspan.LongformerModel.forward": f"self, {_INPUTS}, inputs_embeds=None, {_OUTPUTS}",
    "longspan.LongformerForMaskedLM.forward": f"self, {_INPUTS}, inputs_embeds=None, labels=None, {_OUTPUTS}",
    "longspan.LongformerForQuestionAnswering.forward": (
        f"self, {_INPUTS}, inputs_embeds=None, start_positions=None, end_positions=None, {_OUTPUTS}"
    ),
    "longspan.LongformerForSequenceClassification.forward": (
        f"self, {_INPUTS}, inputs_embeds=None, labels=None, {_OUTPUTS}"
    ),
    "longspan.LongformerForTokenClassification.forward": (
        f"self, {_INPUTS}, inputs_embeds=None, labels=None, {_OUTPUTS}"
    ),
    "longspan.LongformerForMultipleChoice.forward": (
        "self, input_ids=None, token_type_ids=None, attention_mask=None, global_attention_mask=None, labels=None, "
        f"position_ids=None, inputs_embeds=None, {_OUTPUTS}"
    ),
}


@pytest.mark.parametrize("room", list(NAMES))
def test_names(room):
    module = importlib.import_module(room)
    assert sorted(module.__all__) == sorted(NAMES[room])
    for name in NAMES[room]:
        assert getattr(module, name) is not None
        assert name in dir(module)


@pytest.mark.parametrize("name", list(SIGNATURES))
def test_signature(name):
    assert _parameters(_find(name)) == SIGNATURES[name]


def test_extend_is_called_by_the_name_of_its_room():
    assert callable(longspan.extend)


def test_unknown_names_are_attribute_errors():
    for module in (longspan, longspan.attention):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            module.nothing  # noqa: B018


def test_importing_longspan_loads_no_torch():
    script = "import sys, longspan, longspan.attention.pattern; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def _find(name: str) -> Any:
    parts = name.split(".")
    for at in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:at]))
        except ModuleNotFoundError:
            continue
        for part in parts[at:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)


def _parameters(function: Any) -> str:
    """A signature as text, without annotations."""
    signature = inspect.signature(function)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))[1:-1]
