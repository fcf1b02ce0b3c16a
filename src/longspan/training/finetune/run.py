"""A fine-tuning run for the loop of every training: its Trainer, its part of the record, its finished folder."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback

from longspan.records import TrainingRecord
from longspan.tasks.adapter_files import ADAPTER_FILES, save_adapter
from longspan.tasks.task import FeatureSet, FineTuningTask
from longspan.training.finetune.adapter import AdapterPlan, adapter_lines, read_out
from longspan.training.finetune.card import finetuning_card
from longspan.training.finetune.data import Data, merge_counts
from longspan.training.finetune.model import merge_adapters
from longspan.training.finetune.trainer import FinetuneTrainer
from longspan.training.recipe.fields import FinetuneRecipe
from longspan.training.run.folder import MODEL_FILES
from longspan.training.run.loop import PreparedRun, RunResults
from longspan.training.run.record import backend_of


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FinetuneRun(PreparedRun[FinetuneTrainer]):
    """A fine-tuning run that is ready for its first step.

    Attributes:
        recipe: what to do.
        task: what is learnt.
        model: to train: `body`, or PEFT's model around it.
        adapter: what the finished adapter says and holds; None without one.
        train, evaluation: the data that was read.
        rows, eval_rows: its windows; `eval_rows` is None if nothing is evaluated.
        max_length, overlap: of the windows, in tokens.
    """

    recipe: FinetuneRecipe
    task: FineTuningTask
    model: nn.Module
    adapter: AdapterPlan | None
    train: Data
    evaluation: Data
    rows: FeatureSet
    eval_rows: FeatureSet | None
    max_length: int
    overlap: int

    def make_trainer(self, callbacks: list[TrainerCallback]) -> FinetuneTrainer:
        """As in `PreparedRun`."""
        score = None
        if self.eval_rows is not None:
            score = functools.partial(
                self.task.training_scores,
                self.evaluation.pairs(),
                self.eval_rows,
                tokenizer=self.tokenizer,
                fields=self.recipe,
                config=self.body.config,
            )
        return FinetuneTrainer(
            model=self.model,
            args=self.arguments,
            data_collator=self.task.collator(self.body, self.tokenizer, self.recipe),
            train_dataset=self.rows,
            eval_dataset=self.eval_rows,
            processing_class=self.tokenizer,
            callbacks=callbacks,
            score=score,
        )

    def results(self, trainer: FinetuneTrainer) -> RunResults:
        """As in `PreparedRun`."""
        return RunResults(
            n_examples=len(self.train.examples),
            n_features=len(self.rows),
            attention_backend=backend_of(self.body, max(self.rows.lengths), self.arguments),
            counts=merge_counts(self.train.counts, self.rows.counts, self.evaluation.counts),
            resolved=_found_batch_size(trainer),
            language_model=[],
        )

    @property
    def obsolete_files(self) -> frozenset[str]:
        """As in `PreparedRun`: a folder holds a model or an adapter, not both."""
        return MODEL_FILES if self._saves_adapter else ADAPTER_FILES

    def save(self, model: nn.Module, record: TrainingRecord, folder: Path, title: str) -> None:
        """As in `PreparedRun`."""
        lines: list[str] = []
        if self._saves_adapter:
            assert self.adapter is not None
            adapter, half = read_out(model, self.adapter), self.recipe.adapter_precision == "fp16"
            save_adapter(adapter, folder, half=half)
            lines = adapter_lines(adapter, half=half)
        else:
            merge_adapters(model).save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        card = finetuning_card(
            self.task,
            self.body,
            self.recipe.model,
            record,
            self.proof,
            title,
            tokenizer=self.tokenizer,
            adapter=lines,
        )
        (folder / "README.md").write_text(card, encoding="utf-8")

    @property
    def _saves_adapter(self) -> bool:
        return self.adapter is not None and not self.recipe.merge_adapter


def _found_batch_size(trainer: FinetuneTrainer) -> dict[str, Any]:
    """The rows that fitted into memory, if the recipe leaves their number to `auto_find_batch_size`."""
    if not trainer.args.auto_find_batch_size:
        return {}
    return {"per_device_train_batch_size": trainer._train_batch_size // max(1, trainer.args.n_gpu)}
