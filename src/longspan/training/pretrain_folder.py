"""The output folder of a pre-training run, and what has to be the same when such a run goes on.

Beside what every run keeps (longspan.training.run_folder), `checkpoints/` holds `identity.json`, what decides the run's
losses, and `initial.json`, the evaluation before the first step.
"""

import contextlib
import json
import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from longspan.errors import InputError
from longspan.files import replace_file
from longspan.records import LanguageModelScore
from longspan.training.checkpoints import (
    checkpoints_in,
    fault_of,
    newest_whole_checkpoint,
    remove_checkpoint,
    remove_leftovers,
)
from longspan.training.pretrain_recipe import PretrainRecipe
from longspan.training.run_folder import FREE_ON_RESUME, RunFolder

logger = logging.getLogger(__name__)

# They don't change the losses, or stand in the identity in another form (the rows of a step, the corpus' fingerprint).
_FREE = FREE_ON_RESUME | {
    "allow_pickle",
    "cache_dir",
    "dataloader_num_workers",
    "dataloader_pin_memory",
    "dataloader_prefetch_factor",
    "ddp_backend",
    "ddp_find_unused_parameters",
    "ddp_timeout",
    "do_eval",
    "do_train",
    "eval_data",
    "eval_lengths",
    "force_resume",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "logging_first_step",
    "max_eval_blocks",
    "model",
    "n_processes",
    "on_non_finite",
    "per_device_eval_batch_size",
    "per_device_train_batch_size",
    "proof",
    "rows_per_step",
    "save_on_each_node",
    "train_data",
    "use_cpu",
}


class PretrainFolder(RunFolder):
    """The output folder of one recipe."""

    def __init__(self, recipe: PretrainRecipe) -> None:
        super().__init__(recipe)
        self._identity = self.checkpoints / "identity.json"
        self._initial = self.checkpoints / "initial.json"
        self._may_differ = recipe.force_resume

    def find_checkpoint(self, resume: bool | str) -> Path | None:
        """As in `RunFolder`; a checkpoint that was cut off or changed is named and passed over."""
        if isinstance(resume, str):
            if (fault := fault_of(Path(resume))) is not None:
                raise InputError(f"{resume} cannot be used: {fault}; give another checkpoint-N, or true for the newest")
            return Path(resume)
        return newest_whole_checkpoint(self.checkpoints) if resume else None

    def fault_of(self, checkpoint: Path) -> str | None:
        """As in `RunFolder`, by the manifest."""
        return fault_of(checkpoint)

    def require_same(self, identity: dict[str, Any], resume_from: Path | None) -> None:
        """Refuse to go on with something else than the run was started with.

        Raises:
            InputError: `identity` differs from the one beside the checkpoint (the message lists how), or there is none,
                and that is not forced.
        """
        if resume_from is None:
            return
        path = resume_from.parent / self._identity.name  # of the run that the checkpoint is of, which may be another
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            if not self._may_differ:
                raise InputError(
                    f"{path} cannot be read, so that nobody knows what {resume_from} was trained with; bring it along "
                    "with the checkpoint, or insist with --force_resume"
                ) from error
            logger.warning("%s cannot be read: whether the run was started otherwise is not known", path)
            return
        now = json.loads(json.dumps(identity))
        names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        if not names:
            return
        listed = "; ".join(f"{name} was {_short(before.get(name))}, is {_short(now.get(name))}" for name in names)
        if not self._may_differ:
            raise InputError(
                f"{self.root}: this run was started otherwise: {listed}. Go on as it was started, choose another "
                "output_dir, or insist with --force_resume (the result is then neither run's)"
            )
        logger.warning("going on although the run was started otherwise: %s", listed)

    def start_with(self, identity: dict[str, Any], resume_from: Path | None) -> None:
        """Make the folders for a run that starts, or goes on after the step of `resume_from`."""
        self.start(resume_from)
        remove_leftovers(self.checkpoints)
        if resume_from is not None:
            found = checkpoints_in(self.checkpoints)
            resolved = [path.resolve() for path in found]  # the user may have named it by another path
            here = resume_from.resolve()
            later = found[resolved.index(here) + 1 :] if here in resolved else []
            for path in later:
                # They are damaged, or the user goes back: either way those steps are taken again.
                logger.warning("%s is removed: training goes on from %s", path, resume_from)
                remove_checkpoint(path)
        with replace_file(self._identity) as temporary:
            temporary.write_text(json.dumps(identity, indent=1) + "\n", encoding="utf-8")

    @contextlib.contextmanager
    def finish(self, *, leave_out: Collection[str] = ()) -> Iterator[Path]:
        """As in `RunFolder`, without what was left of checkpoints."""
        remove_leftovers(self.checkpoints)
        with super().finish(leave_out=leave_out) as folder:
            yield folder

    def keep_initial(self, scores: list[LanguageModelScore], asked: str) -> None:
        """Write down the evaluation before the first step, and the fingerprint of what it asked for."""
        kept = {"asked": asked, "scores": [score.model_dump() for score in scores]}
        with replace_file(self._initial) as temporary:
            temporary.write_text(json.dumps(kept) + "\n", encoding="utf-8")

    def initial(self, asked: str) -> list[LanguageModelScore] | None:
        """The evaluation before the first step; None where there was none, or one that asked for something else."""
        if not self._initial.is_file():
            return None
        kept = json.loads(self._initial.read_text(encoding="utf-8"))
        if not isinstance(kept, dict) or kept["asked"] != asked:
            return None
        return [LanguageModelScore(**score) for score in kept["scores"]]


def deciding_fields(recipe: PretrainRecipe) -> dict[str, Any]:
    """The fields of `recipe` that decide the losses of a run."""
    return {name: value for name, value in recipe.fields().items() if name not in _FREE}


def _short(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
