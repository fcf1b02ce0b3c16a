"""Evaluation of a masked language model on held-out text, in all processes of a run."""

import dataclasses
import hashlib
from typing import Any, Literal

import numpy as np
import torch
from torch.distributed.fsdp import register_fsdp_forward_method
from transformers import PreTrainedTokenizerBase, TrainingArguments

from longspan.metrics.language_modelling import LossSums
from longspan.records import LanguageModelScore
from longspan.tasks.masked_lm.scoring import HeldOutText, MaskedLmScorer

# Tokens in one forward of an evaluation, for each row of per_device_eval_batch_size.
_TOKENS_PER_ROW = 4096


@dataclasses.dataclass(frozen=True)
class HeldOutEvaluation:
    """Evaluates a model on masked tokens of held-out text.

    Attributes:
        texts: to evaluate on; empty if the recipe names none.
        lengths: tokens of context to evaluate at, ascending.
        tokenizer: of the model.
        arguments: the run's; precision, batch size and processes are taken from them.
    """

    texts: list[HeldOutText]
    lengths: list[int]
    tokenizer: PreTrainedTokenizerBase
    arguments: TrainingArguments

    def scores(self, model: Any, when: Literal["initial", "final"]) -> list[LanguageModelScore]:
        """Evaluate at every length: a score for each source and length, and for all sources together.

        Called in all processes, and equal in all of them.
        """
        sums = self._loss_sums(model, self.lengths)
        rows = []
        names = [(text.name, text.language) for text in self.texts]
        for length in self.lengths:
            of_length = [sums[i, length] for i in range(len(names))]
            together = [(("all", "all"), _merged(of_length, length))] if len(names) > 1 else []
            rows += [
                LanguageModelScore(
                    when=when, dataset=name, language=language or "unknown", n_tokens=length, n_predicted=of.n_tokens,
                    loss=of.loss, bits_per_token=of.bits_per_token, bits_per_character=of.bits_per_character,
                    loss_by_position=of.loss_by_position(),
                )
                for (name, language), of in [*zip(names, of_length, strict=True), *together]
            ]  # fmt: skip
        return rows

    def metrics(self, model: Any) -> dict[str, float]:
        """Evaluate at the longest length, all sources together: metrics by name, as the Trainer logs them."""
        sums = self._loss_sums(model, self.lengths[-1:])
        together = _merged(list(sums.values()), max(length for _, length in sums))
        found = {"eval_loss": together.loss, "eval_bits_per_token": together.bits_per_token}
        if together.bits_per_character is not None:
            found["eval_bits_per_character"] = together.bits_per_character
        return found

    def fingerprint(self) -> str:
        """Equal for evaluations of the same tokens at the same lengths."""
        digest = hashlib.sha256(repr(self.lengths).encode())
        for text in self.texts:
            digest.update(repr((text.name, text.language, text.before, text.after)).encode())
            for block in text.blocks:
                for column in block:
                    digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def _loss_sums(self, model: Any, lengths: list[int]) -> dict[tuple[int, int], LossSums]:
        """(number of the text, length) -> sums over all processes."""
        arguments = self.arguments
        scorer = MaskedLmScorer(
            self.tokenizer,
            lengths,
            batch_tokens=arguments.per_device_eval_batch_size * _TOKENS_PER_ROW,
            dtype=torch.bfloat16 if arguments.bf16 else torch.float16 if arguments.fp16 else None,
            rank=arguments.process_index,
            n_processes=max(1, arguments.world_size),
        )
        if hasattr(model, "unshard"):
            # FSDP gathers the parameters of a sharded model around `forward`; here around this method too.
            register_fsdp_forward_method(model, "log_probabilities")
        sums = scorer.score(model, self.texts, progress=not arguments.disable_tqdm and arguments.process_index == 0)
        if arguments.world_size > 1:
            shares: list[Any] = [None] * arguments.world_size
            torch.distributed.all_gather_object(shares, sums)
            for share in shares[: arguments.process_index] + shares[arguments.process_index + 1 :]:
                for key, value in share.items():
                    sums[key].merge(value)
        return sums


def _merged(sums: list[LossSums], length: int) -> LossSums:
    together = LossSums(length)
    for of_text in sums:
        together.merge(of_text)
    return together
