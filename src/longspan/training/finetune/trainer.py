"""The Trainer of fine-tuning: batches of similar length, scores in evaluation, a check for NaN."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler, SequentialSampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from longspan.errors import InputError
from longspan.tasks.task import FeatureSet
from longspan.training.run.checkpoints import DurableTrainer


class GroupedByLength(Sampler[int]):
    """Random order in which the rows of a batch have similar lengths.

    The order depends on the seed and the epoch alone, so that a resumed run sees the same batches.
    """

    def __init__(self, lengths: Sequence[int], rows_per_step: int, seed: int) -> None:
        self._lengths = list(lengths)
        self._rows_per_step = rows_per_step
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's data loader before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        return iter(get_length_grouped_indices(self._lengths, self._rows_per_step, generator=generator))


class FinetuneTrainer(DurableTrainer):
    """The Trainer over the rows of a task: groups by length, scores evaluations, refuses NaN.

    Args:
        score: logits of the evaluation's rows -> the scores to log beside the loss; None logs the loss alone.
        kwargs: as transformers.Trainer takes.
    """

    def __init__(
        self, *, score: Callable[[Sequence[np.ndarray]], dict[str, float]] | None = None, **kwargs: Any
    ) -> None:
        if score is not None:
            kwargs |= {
                "compute_metrics": lambda found: score(_as_tuple(found.predictions)),
                "preprocess_logits_for_metrics": lambda logits, _: [one.float() for one in _as_tuple(logits)],
            }
        super().__init__(**kwargs)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """One forward and backward.

        Raises:
            InputError: the loss is not finite.
        """
        loss = super().training_step(model, inputs, *args, **kwargs)
        if not torch.isfinite(loss):
            step = self.state.global_step + 1
            rate = self._get_learning_rate()
            raise InputError(
                f"the loss is {loss.item()} at step {step} (learning rate {rate:.3g}); lower learning_rate, warm up "
                "longer, or use bf16 or float32 instead of fp16; the checkpoints before that step are kept"
            )
        return loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy == "group_by_length":
            assert isinstance(dataset, FeatureSet)
            rows = self.args.train_batch_size * self.args.gradient_accumulation_steps
            seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
            return GroupedByLength(dataset.lengths, rows, seed)
        return super()._get_train_sampler(train_dataset)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        # The rows are sorted by length already.
        return SequentialSampler(eval_dataset)


def _as_tuple(values: Any) -> tuple[Any, ...]:
    """Return the model's outputs as a tuple, be it one or several."""
    return tuple(values) if isinstance(values, (tuple, list)) else (values,)
