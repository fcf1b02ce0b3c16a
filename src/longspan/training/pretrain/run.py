"""A pre-training run for the loop of every training: its Trainer, its evaluations, its finished folder."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback

from longspan.data.corpora import BlockDataset, Corpus
from longspan.data.masking import MaskedLmCollator
from longspan.extend import copy_global_projections
from longspan.extend.sentence_modules import copy_modules
from longspan.models import LongformerForMaskedLM
from longspan.records import LanguageModelScore, TrainingRecord
from longspan.training.pretrain.card import pretraining_card
from longspan.training.pretrain.data import TrainingStream
from longspan.training.pretrain.evaluation import HeldOutEvaluation
from longspan.training.pretrain.folder import PretrainFolder
from longspan.training.pretrain.model import KeepOldRows, has_global_tokens, with_both_biases
from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.pretrain.trainer import PretrainTrainer
from longspan.training.run.distributed import in_first_process
from longspan.training.run.loop import PreparedRun, RunResults
from longspan.training.run.record import backend_of


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PretrainRun(PreparedRun[PretrainTrainer]):
    """A pre-training run that is ready for its first step.

    Attributes:
        recipe: what to do.
        folder: the output folder, which keeps the evaluation before the first step.
        body: the model to train.
        n_old_rows: position rows of `body` that are not new.
        max_tokens: the longest input of `body`.
        max_length: of a block, in tokens.
        corpus, blocks, stream: the text, an epoch of it, and all rows of the run.
        evaluation: on held-out text.
        initial_scores: of the evaluation before the first step; `begin` fills it.
    """

    recipe: PretrainRecipe
    folder: PretrainFolder
    body: LongformerForMaskedLM
    n_old_rows: int
    max_tokens: int
    max_length: int
    corpus: Corpus
    blocks: BlockDataset
    stream: TrainingStream
    evaluation: HeldOutEvaluation
    initial_scores: list[LanguageModelScore] = dataclasses.field(default_factory=list)

    def make_trainer(self, callbacks: list[TrainerCallback]) -> PretrainTrainer:
        """As in `PreparedRun`."""
        return PretrainTrainer(
            model=self.body,
            args=self.arguments,
            data_collator=MaskedLmCollator(
                self.tokenizer, padding_position=self.body.longformer.embeddings.padding_idx
            ),
            train_dataset=self.stream,
            # `score` has its own texts; the Trainer only checks that there is a data set.
            eval_dataset=self.stream if self.evaluation.texts else None,
            processing_class=self.tokenizer,
            callbacks=callbacks,
            score=self.evaluation.metrics,
            skips_non_finite=self.recipe.on_non_finite == "skip",
            rows_of_epoch=len(self.blocks),
        )

    def begin(self, trainer: PretrainTrainer, resume_from: Path | None) -> None:
        """Evaluate the model before its first step, or take the scores that a resumed run has kept."""
        asked = self.evaluation.fingerprint()
        kept = in_first_process(self.arguments, lambda: self.folder.initial(asked)) if resume_from else None
        if kept is None:
            # A resumed run has not loaded its checkpoint yet: this is the model before the first step.
            model: Any = self.body
            found = self.evaluation.scores(model.to(self.arguments.device), "initial")
            in_first_process(self.arguments, lambda: self.folder.keep_initial(found, asked))
            kept = found
        self.initial_scores.extend(kept)
        if self.recipe.trained == "positions":
            trainer.add_callback(
                KeepOldRows(self.body.longformer.embeddings.position_embeddings.weight, self.n_old_rows)
            )

    def results(self, trainer: PretrainTrainer) -> RunResults:
        """As in `PreparedRun`, with the evaluation after the last step."""
        return RunResults(
            language_model=self.initial_scores + self.evaluation.scores(trainer.model, "final"),
            n_examples=self.corpus.n_documents,
            n_features=len(self.blocks),
            attention_backend=backend_of(self.body, self.max_length, self.arguments, has_global=False),
            counts={
                "tokens": self.corpus.n_tokens,
                "characters": self.corpus.n_characters,
                "tokens_seen": trainer.tokens_seen(),
                "steps_left_out": trainer.n_skipped,
            },
            resolved=_processes(trainer),
        )

    def trained_model(self, trainer: PretrainTrainer) -> nn.Module:
        """As in `PreparedRun`; a sharded model is gathered in the first process, and is empty in the others."""
        model: Any = super().trained_model(trainer)
        if not trainer.is_fsdp_enabled:
            return model
        state = trainer.accelerator.get_state_dict(trainer.model)
        with torch.device("meta"):
            whole = LongformerForMaskedLM(model.config)
        if trainer.is_world_process_zero():
            whole.load_state_dict(with_both_biases(state), assign=True)
            whole.tie_weights()
        return whole

    def save(self, model: nn.Module, record: TrainingRecord, folder: Path, title: str) -> None:
        """As in `PreparedRun`; modules of sentence-transformers beside the source are copied."""
        assert isinstance(model, LongformerForMaskedLM)
        if not has_global_tokens(model):
            copy_global_projections(model)  # they were not trained
        model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        copy_modules(self.recipe.model, folder, self.max_tokens)
        card = pretraining_card(model, self.recipe.model, record, self.proof, title)
        (folder / "README.md").write_text(card, encoding="utf-8")


def _processes(trainer: PretrainTrainer) -> dict[str, Any]:
    """How many processes the run had, and what they shared; nothing for one."""
    n = trainer.args.world_size
    kind = trainer.accelerator.distributed_type
    return {"processes": n, "distributed": str(kind.value)} if n > 1 else {}
