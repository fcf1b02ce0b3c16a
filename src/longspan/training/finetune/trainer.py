"""The trainer with what question answering adds: grouping by length, answers in evaluation, no NaN."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler, SequentialSampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from longspan.data.qa import QaExample, QaFeature, QaFeatures
from longspan.errors import InputError
from longspan.metrics import aggregate, score_answer
from longspan.tasks.question_answering.predictor import QaPredictor
from longspan.training.run.checkpoints import DurableTrainer


class WindowSet(Dataset[QaFeature]):
    """Some of the windows of `features`, in a given order."""

    def __init__(self, features: QaFeatures, places: np.ndarray) -> None:
        self._features = features
        self._places = places
        self.lengths: list[int] = features.lengths[places].tolist()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> QaFeature:
        return self._features[int(self._places[index])]


class GroupedByLength(Sampler[int]):
    """Random order in which a batch's rows are of like length.

    The order of an epoch follows from the seed and the epoch alone, so that a resumed run sees the same batches.
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


class QaTrainer(DurableTrainer):
    """Trainer over `WindowSet`s.

    Args:
        predictor: answers `eval_examples` at each evaluation, beside the loss; None: the loss only.
        eval_examples: the questions, each with the language of its data set.
        kwargs: as transformers.Trainer takes.
    """

    def __init__(
        self,
        *,
        predictor: QaPredictor | None = None,
        eval_examples: Sequence[tuple[QaExample, str]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._predictor = predictor
        self._eval_examples = eval_examples

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

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        """The loss over the windows; exact match and F1 (per cent, each language's rules) over the questions."""
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        if self._predictor is not None and self._eval_examples and output.metrics is not None:
            for name, value in self._score_answers(self._predictor).items():
                output.metrics[f"{metric_key_prefix}_{name}"] = value
        return output

    def _score_answers(self, predictor: QaPredictor) -> dict[str, float]:
        examples = [example for example, _ in self._eval_examples]
        # Only a data set with unanswerable questions (SQuAD 2.0) gives the model the choice not to answer.
        may_decline = any(example.is_impossible for example in examples)
        scores = []
        predictions = predictor.predict(examples, progress=False)
        for prediction, (example, language) in zip(predictions, self._eval_examples, strict=True):
            declines = may_decline and prediction.no_answer_score > prediction.logit
            text = "" if declines else prediction.text
            scores.append(score_answer(text, example.golds, language, example.rules))
        return aggregate(scores)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy == "group_by_length":
            assert isinstance(dataset, WindowSet)
            rows = self.args.train_batch_size * self.args.gradient_accumulation_steps
            seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
            return GroupedByLength(dataset.lengths, rows, seed)
        return super()._get_train_sampler(train_dataset)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        # The windows are in order of length already.
        return SequentialSampler(eval_dataset)
