"""transformers' Trainer over an endless stream of masked blocks, with a guard against losses that are not finite."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from longspan.errors import InputError
from longspan.training.recipe.trainer_arguments import rows_of_step
from longspan.training.run.checkpoints import DurableTrainer
from longspan.training.run.distributed import anywhere, summed

logger = logging.getLogger(__name__)


class PretrainTrainer(DurableTrainer):
    """Trainer over a `TrainingStream`.

    Args:
        score: evaluates the model: metrics by name, all of which begin with "eval_".
        skips_non_finite: skip a step whose loss or gradient is not finite, instead of stopping.
        rows_of_epoch: blocks in an epoch, for the logs.
        kwargs: as transformers.Trainer takes.

    Attributes:
        n_skipped: number of skipped steps.
    """

    def __init__(
        self,
        *,
        score: Callable[[nn.Module], dict[str, float]],
        skips_non_finite: bool,
        rows_of_epoch: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._score = score
        self._skips = skips_non_finite
        self._rows_of_epoch = rows_of_epoch
        self.n_skipped = 0
        self._blocks_of_step: list[int] = []
        self._bad_loss: float | None = None
        self._loss_of_step: Tensor | float = 0.0
        self._skipped_since_log = self._step_of_log = 0
        self._tokens: Tensor | int = 0  # read by this process
        self.add_callback(_Guard(self))

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """One forward and backward.

        Raises:
            InputError: the loss is not finite and such steps are not skipped.
        """
        self._blocks_of_step += inputs.pop("block_ids").tolist()
        self._tokens += inputs["attention_mask"].sum()
        loss = super().training_step(model, inputs, *args, **kwargs)
        if not torch.isfinite(loss):
            self._bad_loss = loss.item()
            if not self._skips:
                raise InputError(self._describe(f"loss is {loss.item()}"))
            return torch.zeros_like(loss)
        self._loss_of_step += loss
        return loss

    def begin_step(self) -> None:
        """Reset what was noted of the step before."""
        self._blocks_of_step, self._bad_loss = [], None
        self._loss_of_step = 0.0

    def check_gradients(self) -> None:
        """Check all gradients before the optimiser uses them.

        Raises:
            InputError: one is not finite and such steps are not skipped.
        """
        # float16's loss scaler detects gradients that are not finite itself, and skips such steps.
        is_scaled = getattr(self.accelerator, "scaler", None) is not None
        is_bad = self._bad_loss is not None or (not is_scaled and not _are_finite(self._net))
        if not anywhere(self.args, is_bad):
            return
        what = "a gradient is not finite" if self._bad_loss is None else f"the loss is {self._bad_loss}"
        if not self._skips:
            raise InputError(self._describe("gradient is not finite"))
        self.n_skipped += 1
        self._skipped_since_log += 1
        self._tr_loss -= self._loss_of_step
        logger.warning("step %d is left out: %s (blocks %s)", self.state.global_step + 1, what, self._blocks())
        if not is_scaled:
            self._net.zero_grad(set_to_none=True)

    def tokens_seen(self) -> int:
        """Tokens trained on by all processes, with special tokens and without padding; called in all processes."""
        return int(summed(self.args, int(self._tokens)))

    def progress(self) -> dict[str, Any]:
        """As in `DurableTrainer`."""
        since_log = {"skipped_since_log": self._skipped_since_log, "own_step_of_log": self._step_of_log}
        counts = {"n_skipped": self.n_skipped, "tokens_seen": self.tokens_seen()}
        return super().progress() | counts | since_log

    def restore_progress(self, progress: dict[str, Any]) -> None:
        """As in `DurableTrainer`."""
        super().restore_progress(progress)
        self.n_skipped, self._skipped_since_log = progress["n_skipped"], progress["skipped_since_log"]
        self._step_of_log = progress["own_step_of_log"]
        self._tokens = progress.get("tokens_seen", 0) if self.is_world_process_zero() else 0

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Score the model, log the scores, and call the callbacks."""
        metrics = self._score(self._net)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """As in transformers, with the epoch of the data (all steps are one epoch to the Trainer).

        The mean loss is over the steps that were not skipped.
        """
        if "loss" in logs:
            n_steps = self.state.global_step - self._step_of_log
            n_taken = n_steps - self._skipped_since_log
            if n_taken < n_steps:
                logs.pop("grad_norm", None)
                loss = logs.pop("loss")
                logs |= {"loss": loss * n_steps / n_taken} if n_taken else {}
            self._step_of_log, self._skipped_since_log = self.state.global_step, 0
        self.state.epoch = self.state.global_step * rows_of_step(self.args) / self._rows_of_epoch
        super().log(logs, *args, **kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        # The stream decides the order.
        stream: Any = self.train_dataset if train_dataset is None else train_dataset
        return SequentialSampler(stream)

    @property
    def _net(self) -> nn.Module:
        assert isinstance(self.model, nn.Module), "given at the start"
        return self.model

    def _blocks(self) -> str:
        some = ", ".join(map(str, self._blocks_of_step[:16]))
        return some + (f" and {len(self._blocks_of_step) - 16} more" if len(self._blocks_of_step) > 16 else "")

    def _describe(self, what: str) -> str:
        last = f"the last good checkpoint is {self.last_checkpoint}" if self.last_checkpoint else "no checkpoint yet"
        return (
            f"the {what} at step {self.state.global_step + 1}, blocks {self._blocks()} of the training text (learning "
            f"rate {self._get_learning_rate():.3g}); {last}. Lower learning_rate, warm up longer, use bf16 or float32 "
            "instead of fp16, or leave such steps out: --on_non_finite skip"
        )


class _Guard(TrainerCallback):
    """Calls the trainer's checks between the backward and the optimiser."""

    def __init__(self, trainer: PretrainTrainer) -> None:
        self._trainer = trainer

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._trainer.begin_step()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._trainer.check_gradients()


def _are_finite(model: nn.Module) -> bool:
    """Whether all gradients of this process are finite; each is read once, without a copy."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    local: list[Any] = [getattr(gradient, "to_local", lambda gradient=gradient: gradient)() for gradient in gradients]
    norms = [norm.to(local[0].device) for norm in torch._foreach_norm(local)] if local else []
    return bool(torch.isfinite(torch.stack(norms)).all()) if norms else True
