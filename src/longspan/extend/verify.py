"""The proof of an extension: tests that the extended model's outputs equal the source's, and measures their drift.

B rows, T tokens, C model width, V vocabulary.
"""

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.data.decoding import require_text
from longspan.errors import InputError
from longspan.extend.families import FAMILY_OF_TYPE
from longspan.extend.texts import packaged_texts
from longspan.models.agreement import padding_of_texts
from longspan.models.heads import HEADS
from longspan.records import Check, Drift, ProofRecord, made_now
from longspan.text_table import aligned

logger = logging.getLogger(__name__)

Effort = Literal["full", "quick", "none"]

TOLERANCE = 1e-4
"""Largest allowed deviation between two float32 numbers; relative if the original number is above 1."""

DRIFT_LENGTHS = (128, 256, 512)
_MOST_TEXTS = 4  # some seconds for a base-size model on two cores
_MOST_LOGIT_TOKENS = 16  # logits over 250,000 vocabulary entries take 1 MB per token


def require_effort(effort: str) -> None:
    """Raise an InputError unless `effort` is "full", "quick" or "none"."""
    if effort not in get_args(Effort):
        raise InputError(f"proof must be one of {', '.join(get_args(Effort))}, not {effort!r}")


class _Batch(NamedTuple):
    """Right-padded rows of different lengths."""

    ids_BT: Tensor
    is_token_BT: Tensor
    type_ids_BT: Tensor | None

    def cut(self, n_tokens: int) -> "_Batch":
        """The first `n_tokens` columns."""
        types_BT = None if self.type_ids_BT is None else self.type_ids_BT[:, :n_tokens]
        return _Batch(self.ids_BT[:, :n_tokens], self.is_token_BT[:, :n_tokens], types_BT)


def prove(
    source: PreTrainedModel,
    extended: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    source_name: str,
    family: str,
    old_max_tokens: int,
    max_tokens: int,
    positions: str,
    texts: Sequence[str] | None = None,
    effort: Effort = "full",
    seed: int = 0,
    notes: Sequence[str] = (),
) -> ProofRecord:
    """Compare `extended` with `source` on random tokens and real text; neither model is changed.

    - (a) In inputs of at most window / 2 + 1 tokens every token sees all others: every hidden state and the task
      head's output must be equal, with and without global tokens.
    - (b) With a window of twice the old maximum the same must hold for every input that the old model accepts.
    - (c) The drift of the last hidden state on text, with the chosen window, is measured.

    Only real tokens are compared, in float32. Inputs contain the unknown token and special tokens in their middle, and
    padding tokens if the source counts no position for them. Interpolation changes every position row, so (a) and (b)
    then use the trained rows, which tests the other weights; (c) shows the effect of interpolation.

    Raises:
        InputError: (a) or (b) fails; the message has the numbers.
    """
    windows = list(extended.config.attention_window)
    checks: list[Check] = []
    drift: list[Drift] = []
    notes = list(notes)
    if effort == "none":
        notes.append("nothing was proved: the proof was switched off")
    else:
        with _for_comparison(source) as old, _for_comparison(extended) as new:
            encoded = _encode(tokenizer, packaged_texts() if texts is None else texts, old_max_tokens, notes)
            maker = _BatchMaker(old, new, tokenizer, seed)
            maker.take_texts(encoded, notes)
            aligned = (
                _twin(new, windows, _trained_rows(old, new, old_max_tokens)) if positions == "interpolate" else new
            )
            note = ", trained position rows set back" if positions == "interpolate" else ""
            short = min(min(windows) // 2 + 1, old_max_tokens)
            lengths = [short, short, 1] if effort == "full" else [short, 1]
            checks += _check(
                old, aligned, maker.rows(lengths), f"inputs of at most {short} tokens{note}", is_short=True
            )
            if effort == "full":
                wide = 2 * old_max_tokens
                twin = _twin(aligned, [wide] * len(windows))
                lengths = [old_max_tokens, max(1, old_max_tokens * 3 // 4), 1]
                statement = f"attention_window {wide}, inputs of at most {old_max_tokens} tokens{note}"
                checks += _check(old, twin, maker.rows(lengths), statement)
                drift = _measure_drift(old, new, maker.encoded, old_max_tokens)
    return ProofRecord(
        made=made_now(seed=seed),
        source=source_name,
        family=family,
        old_max_tokens=old_max_tokens,
        max_tokens=max_tokens,
        attention_window=windows,
        positions=positions,
        checks=checks,
        drift=drift,
        notes=notes,
    )


@contextmanager
def _for_comparison(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """Yield `model`, or a float32 copy if it has another dtype, in eval mode; the model's modes are restored."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield (model if model.dtype == torch.float32 else copy.deepcopy(model).float()).eval()
    finally:
        for module, was_training in modes.items():
            module.training = was_training


def _twin(model: PreTrainedModel, windows: list[int], position_rows: Tensor | None = None) -> PreTrainedModel:
    """Return a model that shares the weights of `model`, with other windows and optionally other position rows."""
    config = copy.deepcopy(model.config)
    config.attention_window = windows
    weights = dict(model.state_dict())
    if position_rows is not None:
        (name,) = [name for name in weights if name.endswith("embeddings.position_embeddings.weight")]
        weights[name] = position_rows
    has_no_pooler = model is model.base_model and model.pooler is None
    with torch.device("meta"):
        twin = type(model)(config, **({"add_pooling_layer": False} if has_no_pooler else {}))
    twin.load_state_dict(weights, strict=True, assign=True)
    twin.tie_weights()
    return twin.eval()


def _encoder(model: PreTrainedModel) -> Any:
    """Return the model without its task head."""
    return model.base_model


def _trained_rows(old: PreTrainedModel, new: PreTrainedModel, n_trained: int) -> Tensor:
    """Return the new model's position table with the old model's rows at its first positions."""
    rows = _encoder(new).embeddings.position_embeddings.weight.detach().clone()
    trained = _encoder(old).embeddings.position_embeddings.weight.detach()[-n_trained:]
    first = new.config.pad_token_id + 1
    rows[first : first + n_trained] = trained
    return rows


def _encode(
    tokenizer: PreTrainedTokenizerBase | None, texts: Sequence[str], max_tokens: int, notes: list[str]
) -> list[list[int]]:
    """Token ids of each text, truncated to `max_tokens`; empty if there is no tokenizer."""
    if tokenizer is None:
        notes.append("no tokenizer was given: the proof ran on random tokens, and no drift was measured")
        return []
    for i, text in enumerate(texts):
        require_text(text, f"texts[{i}]")
    encoded = [list(tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"]) for text in texts]
    return [ids for ids in encoded if ids]


class _BatchMaker:
    """Makes rows of given lengths, alternately of random tokens and real text, with special tokens in their middle."""

    def __init__(
        self,
        old: PreTrainedModel,
        new: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None,
        seed: int,
    ) -> None:
        self.vocab_size = old.config.vocab_size
        # The tokenizer's padding id, because the new model's is part of what is tested.
        pad_id = padding_of_texts(tokenizer)
        self.pad_id = new.config.pad_token_id if pad_id is None else pad_id
        self.n_types = new.config.type_vocab_size
        self.device = old.device
        self.encoded: list[list[int]] = []
        self.generator = torch.Generator().manual_seed(seed)
        # RoBERTa counts no position for a padding token in a text, as a Longformer does; BERT counts one.
        self.may_pad = FAMILY_OF_TYPE[old.config.model_type].reserves_rows
        self.special_ids = self._find_special_ids(old.config, tokenizer)

    def take_texts(self, encoded: list[list[int]], notes: list[str]) -> None:
        """Use these texts; they are cut before a padding token if the source counts a position for it."""
        self.encoded = encoded
        if self.may_pad or not any(self.pad_id in ids for ids in encoded):
            return
        notes.append(
            f"a text holds the padding token (id {self.pad_id}), for which a Longformer counts no position and the "
            "source counts one; the text was compared up to it"
        )
        self.encoded = [ids[: ids.index(self.pad_id)] if self.pad_id in ids else ids for ids in encoded]
        self.encoded = [ids for ids in self.encoded if ids]

    def _find_special_ids(self, config: Any, tokenizer: PreTrainedTokenizerBase | None) -> list[int]:
        """Ids of the special tokens, in both the configuration's and the tokenizer's view, padding first."""
        keys = [f"{role}_token_id" for role in ("pad", "unk", "sep", "cls", "mask", "bos", "eos")]
        named = [getattr(holder, key, None) for key in keys for holder in (config, tokenizer)]
        found = [one for one in named if isinstance(one, int) and 0 <= one < self.vocab_size]
        return [one for one in dict.fromkeys(found) if self.may_pad or one != self.pad_id]

    def rows(self, lengths: Sequence[int]) -> _Batch:
        shape = len(lengths), max(lengths)
        if self.may_pad:
            ids_BT = torch.randint(self.vocab_size, shape, generator=self.generator)
        else:
            ids_BT = torch.randint(self.vocab_size - 1, shape, generator=self.generator)
            ids_BT += (ids_BT >= self.pad_id).long()
        for row, length in enumerate(lengths):
            if row % 2 and self.encoded:
                text = torch.tensor(self.encoded[row // 2 % len(self.encoded)][:length])
                ids_BT[row, : len(text)] = text
            # From the second token on: side by side in the first row, two tokens apart in the next row, ...
            places = range(1, length, row + 1)
            for place, special_id in zip(places, self.special_ids, strict=False):
                ids_BT[row, place] = special_id
        is_token_BT = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
        ids_BT = ids_BT.masked_fill(~is_token_BT, self.pad_id)
        types_BT = torch.randint(self.n_types, shape, generator=self.generator) if self.n_types > 1 else None
        return _Batch(
            ids_BT.to(self.device),
            is_token_BT.to(self.device),
            None if types_BT is None else types_BT.to(self.device),
        )


def _check(
    old: PreTrainedModel, new: PreTrainedModel, batch: _Batch, inputs: str, *, is_short: bool = False
) -> list[Check]:
    """Compare hidden states, hidden states with global tokens if `is_short`, and the task head's output."""
    has_head = new is not new.base_model
    is_masked_lm = type(new).__name__.endswith("ForMaskedLM")
    whole = has_head and not is_masked_lm
    hidden_old, head_old = _run(old if whole else _encoder(old), batch)
    is_global_BT = torch.zeros_like(batch.is_token_BT)
    hidden_new, head_new = _run(new if whole else _encoder(new), batch, is_global_BT)
    n_rows = len(batch.ids_BT)
    checks = [_compare(f"{inputs}: every hidden state", n_rows, hidden_old, hidden_new, batch.is_token_BT)]
    if is_short:
        is_global_BT[:, 0] = True
        is_global_BT[0, 1::7] = True
        hidden_new, _ = _run(_encoder(new), batch, is_global_BT)
        statement = f"{inputs}, some tokens global: every hidden state"
        checks.append(_compare(statement, n_rows, hidden_old, hidden_new, batch.is_token_BT))
    if whole:
        checks.append(_compare(f"{inputs}: the task head's output", n_rows, head_old, head_new, batch.is_token_BT))
    elif has_head and is_short:
        # Logits over a vocabulary are large, and the head is the same at every token, so a few tokens suffice.
        few = batch.cut(_MOST_LOGIT_TOKENS)
        head_old, head_new = _run(old, few)[1], _run(new, few, torch.zeros_like(few.is_token_BT))[1]
        statement = f"inputs of at most {few.ids_BT.shape[1]} tokens: the task head's output"
        checks.append(_compare(statement, n_rows, head_old, head_new, few.is_token_BT))
    return checks


@torch.no_grad()
def _run(
    model: PreTrainedModel, batch: _Batch, is_global_BT: Tensor | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Hidden states, each [B, T, C], and the logits, each [B, ...]."""
    inputs = {"input_ids": batch.ids_BT, "attention_mask": batch.is_token_BT.long()}
    if batch.type_ids_BT is not None:
        inputs["token_type_ids"] = batch.type_ids_BT
    if is_global_BT is not None:
        inputs["global_attention_mask"] = is_global_BT.long()
    has_choices = any(type(model).__name__.endswith(h.class_ending) for h in HEADS.values() if "choices" in h.axes)
    if has_choices:
        inputs = {name: value[None] for name, value in inputs.items()}  # the rows are the choices of one question
    output = model(**inputs, output_hidden_states=True, return_dict=True)
    names = ["prediction_logits", *(name for kind, head in HEADS.items() if kind != "base" for name in head.outputs)]
    logits = [output[name] for name in dict.fromkeys(names) if name in output]
    if has_choices:
        logits = [value[0] for value in logits]
    return list(output.hidden_states), logits


def _compare(statement: str, n_inputs: int, old: list[Tensor], new: list[Tensor], is_token_BT: Tensor) -> Check:
    """Compare pairs of tensors; tensors with a token axis are compared at real tokens only.

    Raises:
        InputError: a deviation is above the tolerance.
    """
    assert len(old) == len(new), f"{len(old)} tensors against {len(new)}"
    largest, place = 0.0, 0
    for index, (one, other) in enumerate(zip(old, new, strict=True)):
        if one.shape[:2] == is_token_BT.shape:
            one, other = one[is_token_BT], other[is_token_BT]  # noqa: PLW2901  the same pair, without padding
        if not one.isfinite().all():
            raise InputError("the source model itself gives NaN or infinity; its weights are damaged")
        error = ((one - other).abs() / one.abs().clamp(min=1)).max().item()
        if not error <= largest:  # NaN counts as larger
            largest, place = error, index
        if math.isnan(error):
            break
    check = Check(
        statement=statement, n_inputs=n_inputs, largest_error=largest, tolerance=TOLERANCE, passed=largest <= TOLERANCE
    )
    if not check.passed:
        raise InputError(
            f"the extended model is not equal to the original, so it is not returned: {statement} "
            f"({n_inputs} inputs): largest deviation {largest:.3g} in tensor {place + 1} of {len(old)}, "
            f"allowed {TOLERANCE:g}"
        )
    return check


@torch.no_grad()
def _measure_drift(
    old: PreTrainedModel, new: PreTrainedModel, encoded: list[list[int]], old_max_tokens: int
) -> list[Drift]:
    """Measure how far the last hidden state moves on real text, at each length that the old model takes."""
    lengths = [n for n in DRIFT_LENGTHS if n <= old_max_tokens] or [old_max_tokens]
    drift = []
    for n_tokens in lengths:
        texts = [ids[:n_tokens] for ids in encoded if len(ids) >= n_tokens][:_MOST_TEXTS]
        cosines, largest = [], 0.0
        for ids in texts:
            ids_BT = torch.tensor([ids], device=old.device)
            one_TC = _encoder(old)(input_ids=ids_BT).last_hidden_state[0]
            other_TC = _encoder(new)(input_ids=ids_BT).last_hidden_state[0]
            cosines.append(torch.nn.functional.cosine_similarity(one_TC, other_TC, dim=-1).mean().item())
            largest = max(largest, (one_TC - other_TC).abs().max().item())
        if texts:
            drift.append(
                Drift(
                    n_tokens=n_tokens,
                    n_texts=len(texts),
                    mean_cosine=sum(cosines) / len(cosines),
                    largest_error=largest,
                )
            )
    return drift


def format_proof(record: ProofRecord, *, markdown: bool = False) -> str:
    """Format the proof as two tables, for a terminal or in Markdown."""
    checks = [["statement", "inputs", "largest deviation", "allowed", ""]]
    checks += [
        [c.statement, str(c.n_inputs), f"{c.largest_error:.1e}", f"{c.tolerance:g}", "holds" if c.passed else "FAILS"]
        for c in record.checks
    ]
    drift = [["drift on text of", "texts", "mean cosine", "largest deviation"]]
    drift += [
        [f"{d.n_tokens} tokens", str(d.n_texts), f"{d.mean_cosine:.4f}", f"{d.largest_error:.2g}"] for d in record.drift
    ]
    tables = [_table(rows, markdown=markdown) for rows in (checks, drift) if len(rows) > 1]
    return "\n\n".join(tables) if tables else "nothing was proved"


def _table(rows: list[list[str]], *, markdown: bool) -> str:
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
    return "\n".join(aligned(rows, n_text=len(rows[0])))
