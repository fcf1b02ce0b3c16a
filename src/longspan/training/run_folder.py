"""The folder of a run: where checkpoints, logs and the finished model are, and what may be in it beforehand.

    output_dir/
      config.json model.safetensors tokenizer.json README.md training.json ...   the finished model, all at once
      checkpoints/checkpoint-500/ ...                                            to resume from
      checkpoints/recipe.json                                                    what the run was started with
      logs/                                                                      TensorBoard

The model appears when the training is over; until then the folder holds what it held before (nothing, or the model
of the run that is being replaced).
"""

import contextlib
import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from safetensors import SafetensorError

from longspan.errors import InputError
from longspan.files import replace_directory, replace_file, require_writable_directory
from longspan.training.recipe import Recipe

logger = logging.getLogger(__name__)

# What makes a folder a model.
MODEL_FILES = frozenset({"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"})
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}
# Fields that may differ when a run goes on: they change neither the data nor the model nor the order of steps.
FREE_ON_RESUME = {
    "name",
    "output_dir",
    "overwrite_output_dir",
    "resume_from_checkpoint",
    "max_minutes",
    "merge_adapter",
    "adapter_precision",
    "save_steps",
    "save_strategy",
    "save_total_limit",
    "logging_steps",
    "logging_strategy",
    "eval_steps",
    "eval_strategy",
    "report_to",
    "disable_tqdm",
    "run_name",
}


class RunFolder:
    """The output folder of one recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.root = Path(recipe.output_dir).expanduser()
        self.checkpoints = self.root / "checkpoints"
        self.logs = self.root / "logs"
        self._started_with = self.checkpoints / "recipe.json"

    def check(self) -> Path | None:
        """Whether the run may start here; returns the checkpoint it goes on from, None for the beginning.

        Raises:
            InputError: the folder is not empty and neither resuming nor overwriting is allowed, it is not writable,
                the checkpoint to resume from is not one, or none of those there can be used.
        """
        resume = self.recipe.resume_from_checkpoint
        overwrite = self.recipe.overwrite_output_dir
        if self.root.is_dir() and any(self.root.iterdir()) and not resume and not overwrite:
            n_checkpoints = len(list(self.checkpoints.glob("checkpoint-*")))
            holds = f"holds {n_checkpoints} checkpoints of a run" if n_checkpoints else "is not empty"
            raise InputError(
                f"{self.root} {holds}; choose another output_dir, go on with --resume_from_checkpoint true, or "
                "replace it with --overwrite_output_dir"
            )
        require_writable_directory(self.root, overwrite=True)
        found = self.find_checkpoint(resume)
        is_anew = overwrite or getattr(self.recipe, "force_resume", False)
        if resume and found is None and not is_anew and (faults := self._faults()):
            raise InputError(
                f"no checkpoint in {self.checkpoints} can be used: {'; '.join(faults)}. To start from the beginning "
                "would remove them: mend or move them, choose another output_dir, or insist with --overwrite_output_dir"
            )
        return found

    def fault_of(self, checkpoint: Path) -> str | None:
        """What is wrong with a checkpoint of this folder; None where it can be used."""
        return None if is_complete(checkpoint) else "it is not complete"

    def _faults(self) -> list[str]:
        return [f"{path.name}: {self.fault_of(path)}" for path in sorted(self.checkpoints.glob("checkpoint-*"))]

    def find_checkpoint(self, resume: bool | str) -> Path | None:
        """The checkpoint that `resume_from_checkpoint` stands for; None where there is none to go on from.

        Raises:
            InputError: the one that is named is not complete.
        """
        if isinstance(resume, str):
            if not is_complete(Path(resume)):
                raise InputError(f"{resume} is no complete checkpoint; give a folder checkpoint-N, or true")
            return Path(resume)
        return newest_checkpoint(self.checkpoints) if resume else None

    def start(self, resume_from: Path | None) -> None:
        """Make the folders; a run that starts from the beginning removes the checkpoints and logs of an earlier one."""
        with explain_full_disk(self.root):
            if resume_from is None:
                shutil.rmtree(self.checkpoints, ignore_errors=True)
                shutil.rmtree(self.logs, ignore_errors=True)
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        fields = json.loads(json.dumps(self.recipe.fields(), default=str))
        if resume_from is not None and self._started_with.is_file():
            before = json.loads(self._started_with.read_text(encoding="utf-8"))
            names = (before.keys() | fields.keys()) - FREE_ON_RESUME
            changed = sorted(name for name in names if before.get(name) != fields.get(name))
            if changed:
                logger.warning(
                    "resuming with another %s than the run was started with; the result is neither run's",
                    ", ".join(changed),
                )
        with replace_file(self._started_with) as temporary:
            temporary.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")

    @contextlib.contextmanager
    def finish(self, *, leave_out: Collection[str] = ()) -> Iterator[Path]:
        """Yield a folder for the finished model; checkpoints and logs join it, and it takes the run's place at once.

        `leave_out` names files of an earlier end of the run that would not fit to this one.
        """
        with replace_directory(self.root, overwrite=True) as folder:
            yield folder
            # A run that replaces another keeps its own parts only; one that goes on keeps whatever lies beside them.
            keep_all = not self.recipe.overwrite_output_dir
            for entry in self.root.iterdir():
                is_ours = entry in (self.checkpoints, self.logs)
                if entry.name in leave_out:
                    continue
                if (is_ours or keep_all) and not (folder / entry.name).exists():
                    _link(entry, folder / entry.name)


def newest_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step; what a killed run left half-written is passed over."""
    steps = {int(match[1]): path for path in folder.glob("checkpoint-*") if (match := re.search(r"-(\d+)$", path.name))}
    for step in sorted(steps, reverse=True):
        if is_complete(steps[step]):
            return steps[step]
        logger.warning("%s is not complete, resuming from the one before", steps[step])
    return None


def is_complete(checkpoint: Path) -> bool:
    """Whether the Trainer finished writing `checkpoint`: its state comes last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return any(checkpoint.glob("*.safetensors"))


@contextlib.contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn a full or forbidden disk under the Trainer's own writing into an InputError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise InputError(f"cannot write {error.filename or folder}: {error.strerror}; make room and resume") from error
    except (SafetensorError, RuntimeError) as error:
        # safetensors and torch's zip writer say it in words only.
        if "No space left" not in str(error) and "file write failed" not in str(error):
            raise
        raise InputError(f"cannot write to {folder}: the disk is full; make room and resume") from error


def _link(source: Path, destination: Path) -> None:
    """Copy a file or folder by hard links, which take no room; by bytes where the file system has none."""

    def link(one: str, other: str) -> str:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)
        return other

    if source.is_dir():
        shutil.copytree(source, destination, copy_function=link)
    else:
        link(str(source), str(destination))
