"""The output folder of a pre-training run, and what must be the same on resume.

Beside the files of every run (longspan.training.run.folder), `checkpoints/` holds `initial.json`: the evaluation
before the first step.
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

# Further fields that may change on resume: how the rows of a step are computed, and what the identity has in another
# form.
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
# Version of the order of blocks and of the masks; raised when the same seed draws others.
_DRAWS = 2


class PretrainFolder(RunFolder):
    """The output folder of one recipe."""

    must_be_same = True

    def __init__(self, recipe: PretrainRecipe) -> None:
        super().__init__(recipe)
        self._initial = self.checkpoints / "initial.json"

    def keep_initial(self, scores: list[LanguageModelScore], asked: str) -> None:
        """Store the evaluation before the first step, and the fingerprint of its texts and lengths (`asked`)."""
        kept = {"asked": asked, "scores": [score.model_dump() for score in scores]}
        with replace_file(self._initial) as temporary:
            temporary.write_text(json.dumps(kept) + "\n", encoding="utf-8")

    def initial(self, asked: str) -> list[LanguageModelScore] | None:
        """The stored evaluation before the first step; None if there is none with the fingerprint `asked`."""
        if not self._initial.is_file():
            return None
        kept = load_json(self._initial)
        if not isinstance(kept, dict) or kept["asked"] != asked:
            return None
        return [LanguageModelScore(**score) for score in kept["scores"]]


def pretrain_identity(
    recipe: PretrainRecipe, arguments: TrainingArguments, built: MaskedLm, corpus: Corpus, max_length: int
) -> dict[str, Any]:
    """What decides the losses of a run, by name; fields that the recipe leaves open are the model's."""
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
