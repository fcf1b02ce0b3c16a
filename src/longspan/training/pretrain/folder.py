"""The output folder of a pre-training run, and what has to be the same when such a run goes on.

Beside what every run keeps (longspan.training.run.folder), `checkpoints/` holds `initial.json`, the evaluation before
the first step.
"""

import json
from typing import Any

from transformers import TrainingArguments

from longspan.data.corpora import Corpus
from longspan.files import replace_file
from longspan.limits import load_json
from longspan.records import LanguageModelScore
from longspan.training.pretrain.model import MaskedLm
from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.recipe.trainer_arguments import rows_of_step
from longspan.training.run.folder import RunFolder
from longspan.training.run.resume_check import identity_of

# Beside what is free in every run: how a step's rows are computed, and what stands in the identity in another form.
_FREE = {
    "force_resume",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "max_eval_blocks",
    "model",
    "n_processes",
    "num_train_epochs",
    "on_non_finite",
    "per_device_eval_batch_size",
    "per_device_train_batch_size",
    "rows_per_step",
}
# Of the order of blocks and the masks: another number where the same seed draws others.
_DRAWS = 2


class PretrainFolder(RunFolder):
    """The output folder of one recipe."""

    must_be_same = True

    def __init__(self, recipe: PretrainRecipe) -> None:
        super().__init__(recipe)
        self._initial = self.checkpoints / "initial.json"

    def keep_initial(self, scores: list[LanguageModelScore], asked: str) -> None:
        """Write down the evaluation before the first step, and the fingerprint of what it asked for."""
        kept = {"asked": asked, "scores": [score.model_dump() for score in scores]}
        with replace_file(self._initial) as temporary:
            temporary.write_text(json.dumps(kept) + "\n", encoding="utf-8")

    def initial(self, asked: str) -> list[LanguageModelScore] | None:
        """The evaluation before the first step; None where there was none, or one that asked for something else."""
        if not self._initial.is_file():
            return None
        kept = load_json(self._initial)
        if not isinstance(kept, dict) or kept["asked"] != asked:
            return None
        return [LanguageModelScore(**score) for score in kept["scores"]]


def pretrain_identity(
    recipe: PretrainRecipe, arguments: TrainingArguments, built: MaskedLm, corpus: Corpus, max_length: int
) -> dict[str, Any]:
    """What decides the losses of a run, by name; what the recipe leaves to the model as the model has it."""
    config: Any = built.model.config
    return identity_of(recipe, arguments, _FREE) | {
        "attention_dropout": config.attention_probs_dropout_prob,
        "attention_window": config.attention_window,
        "hidden_dropout": config.hidden_dropout_prob,
        "max_length": max_length,
        "max_steps": arguments.max_steps,
        "max_tokens": built.max_tokens,
        "random draws (their version)": _DRAWS,
        "rows of a step": rows_of_step(arguments),
        "text (its fingerprint)": corpus.fingerprint,
        "tokenizer (its fingerprint)": corpus.tokenizer_fingerprint,
        "vocabulary": config.vocab_size,
    }
