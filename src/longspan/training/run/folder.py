"""The output folder of a run: its layout, and when a run may use it.

    output_dir/
      config.json model.safetensors tokenizer.json README.md training.json ...   the finished model, all at once
      checkpoints/checkpoint-500/ ...                                            to resume from
      checkpoints/recipe.json                                                    what the run was started with
      checkpoints/identity.json                                                  what of it decides the losses
      logs/                                                                      TensorBoard

The finished model is written when the training is over. Until then the folder keeps what it had before: nothing, or the
model of the run that is replaced.
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
from typing import Any, ClassVar

from transformers import TrainingArguments

from longspan.errors import InputError
from longspan.files import make_directory, replace_directory, replace_file, require_writable_directory
from longspan.full_disk import no_room_behind
from longspan.limits import load_json
from longspan.replacing import clear, entries_of, remove_unfinished, resolved
from longspan.training.recipe.fields import Recipe
from longspan.training.run.checkpoints import (
    checkpoints_in,
    fault_of,
    newest_whole_checkpoint,
    remove_checkpoint,
    remove_leftovers,
)
from longspan.training.run.distributed import in_first_process
from longspan.training.run.lock import locked
from longspan.training.run.resume_check import PROCESSES, differences

logger = logging.getLogger(__name__)

# What makes a folder a model.
MODEL_FILES = frozenset({"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"})
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}


class RunFolder:
    """The output folder of one recipe.

    Only the first process of a run calls the methods other than `held` (longspan.training.run.distributed).
    """

    must_be_same: ClassVar[bool] = False
    """Whether a resume with another recipe or other data is refused; otherwise it is only a warning."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.root = resolved(Path(recipe.output_dir).expanduser())
        self.checkpoints = self.root / "checkpoints"
        self.logs = self.root / "logs"
        self._started_with = self.checkpoints / "recipe.json"
        self._identity = self.checkpoints / "identity.json"
        self._is_forced = bool(getattr(recipe, "force_resume", False))

    @contextlib.contextmanager
    def held(self, arguments: TrainingArguments) -> Iterator[None]:
        """Hold the folder's lock while a run uses it; called in all processes.

        Raises:
            InputError: another run holds it.
        """
        with contextlib.ExitStack() as held:
            in_first_process(arguments, lambda: held.enter_context(locked(self.root)))
            yield

    def check(self) -> Path | None:
        """Check that the run may start here; return the checkpoint to resume from, None to start from the beginning.

        Raises:
            InputError: the folder is not empty and neither resuming nor overwriting is allowed, it is not writable,
                the checkpoint to resume from is not one, or none of those there can be used.
        """
        resume = self.recipe.resume_from_checkpoint
        overwrite = self.recipe.overwrite_output_dir
        if self.root.is_dir():
            require_writable_directory(self.root, overwrite=True)  # this also finishes what a killed run left undone
        if self.root.is_dir() and entries_of(self.root) and not resume and not overwrite:
            n_checkpoints = len(checkpoints_in(self.checkpoints))
            holds = f"holds {n_checkpoints} checkpoints of a run" if n_checkpoints else "is not empty"
            raise InputError(
                f"{self.root} {holds}; choose another output_dir, resume with --resume_from_checkpoint true, or "
                "replace it with --overwrite_output_dir"
            )
        require_writable_directory(self.root, overwrite=True)
        found = self._find_checkpoint(resume)
        if resume and found is None and not (overwrite or self._is_forced) and (faults := self._faults()):
            raise InputError(
                f"no checkpoint in {self.checkpoints} can be used: {'; '.join(faults)}. To start from the beginning "
                "would remove them: mend or move them, choose another output_dir, or insist with --overwrite_output_dir"
            )
        return found

    def _find_checkpoint(self, resume: bool | str) -> Path | None:
        if isinstance(resume, str):
            if (fault := fault_of(Path(resume))) is not None:
                raise InputError(f"{resume} cannot be used: {fault}; give another checkpoint-N, or true for the newest")
            return Path(resume)
        return newest_whole_checkpoint(self.checkpoints) if resume else None

    def _faults(self) -> list[str]:
        return [f"{path.name}: {fault_of(path)}" for path in checkpoints_in(self.checkpoints)]

    def require_same(self, identity: dict[str, Any], resume_from: Path | None) -> None:
        """Refuse to resume with another recipe or other data than the run was started with, or warn of it.

        Raises:
            InputError: `must_be_same`, and `identity` differs from the one beside the checkpoint (the message lists
                how), or there is none, and that is not forced.
        """
        if resume_from is None:
            return
        refuses = self.must_be_same and not self._is_forced
        path = resume_from.parent / self._identity.name  # the checkpoint may belong to another run
        try:
            before = load_json(path)
        except (OSError, ValueError) as error:
            if refuses:
                raise InputError(
                    f"{path} cannot be read, so that it is unknown what {resume_from} was trained with; copy it "
                    "beside the checkpoint, or insist with --force_resume"
                ) from error
            logger.warning("%s cannot be read: it is not known whether the run was started otherwise", path)
            return
        now = json.loads(json.dumps(identity))
        if listed := "; ".join(differences(before, now)):
            if refuses:
                raise InputError(
                    f"{self.root}: this run was started otherwise: {listed}. Resume it as it was started, choose "
                    "another output_dir, or insist with --force_resume (the result is then neither run's)"
                )
            logger.warning("resuming although the run was started otherwise: %s; the result is neither run's", listed)
        if before.get(PROCESSES) != now.get(PROCESSES):
            logger.warning(
                "the run had %s processes and has %s now: its steps hold the same rows, but dropout is drawn in each "
                "process by itself", before.get(PROCESSES), now.get(PROCESSES),
            )  # fmt: skip

    def start(self, identity: dict[str, Any], resume_from: Path | None) -> None:
        """Make the folders for a run that resumes after the step of `resume_from`, or starts from the beginning.

        Half-written files of killed runs and checkpoints of later steps are removed. A run from the beginning removes
        all checkpoints and the logs.
        """
        with explain_full_disk(self.root):
            if resume_from is None:
                clear(self.checkpoints)
                clear(self.logs)
                with contextlib.suppress(OSError):  # a link or a mount point stays
                    self.logs.rmdir()
            make_directory(self.checkpoints)
        self._remove_leftovers()
        if resume_from is not None:
            found = checkpoints_in(self.checkpoints)
            resolved = [path.resolve() for path in found]  # the user may have named it by another path
            here = resume_from.resolve()
            later = found[resolved.index(here) + 1 :] if here in resolved else []
            for path in later:
                # They are damaged, or the user chose an earlier one: those steps are taken again.
                logger.warning("%s is removed: training resumes from %s", path, resume_from)
                remove_checkpoint(path)
        for path, value in ((self._started_with, self.recipe.fields()), (self._identity, identity)):
            with replace_file(path) as temporary:
                temporary.write_text(json.dumps(value, indent=1, default=str) + "\n", encoding="utf-8")

    @contextlib.contextmanager
    def finish(self, *, leave_out: Collection[str] = ()) -> Iterator[Path]:
        """Yield a folder for the finished model; it replaces the run's folder at once, and keeps checkpoints and logs.

        `leave_out` names files of an earlier finished run that contradict this one.
        """
        self._remove_leftovers()
        # A run that replaces another one keeps its own parts only; a resumed run keeps all files beside them.
        keep_all = not self.recipe.overwrite_output_dir
        ours = {self.checkpoints.name, self.logs.name}

        def keep(name: str) -> bool:
            return name not in leave_out and (keep_all or name in ours)

        with replace_directory(self.root, overwrite=True, keep=keep) as folder:
            yield folder

    def _remove_leftovers(self) -> None:
        """Remove files of runs that were killed while saving (beside checkpoints) or finishing (beside the folder)."""
        remove_leftovers(self.checkpoints)
        remove_unfinished(self.root)
        if not self.root.is_dir() or not os.access(self.root.parent, os.R_OK | os.W_OK):
            return
        # Names that `longspan.files.replace_directory` gives. No other run writes there, because this one has the lock.
        begun = re.compile(rf"\.{re.escape(self.root.name)}\.[a-z0-9_]{{8}}(\.old)?")
        for path in self.root.parent.iterdir():
            if begun.fullmatch(path.name) and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn a full or forbidden disk under the Trainer's own writing into an InputError."""
    try:
        yield
    except Exception as error:
        forbidden = error if isinstance(error, OSError) and error.errno in _FORBIDDEN else None
        refusal = forbidden or no_room_behind(error)
        if refusal is None or isinstance(error, InputError):
            raise
        mend = "change its permissions" if forbidden else "make room"
        raise InputError(f"cannot write {refusal.filename or folder}: {refusal.strerror}; {mend} and resume") from error
