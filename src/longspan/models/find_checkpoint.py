"""Finds a checkpoint by a folder or a name on the hub, and checks what the libraries would read into memory."""

import re
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, try_to_load_from_cache

from longspan.errors import InputError
from longspan.limits import DESCRIPTION_BYTES, bound_of_description, too_large
from longspan.models.checkpoints import READ_WHOLE, require_checkpoint, require_small_files

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
# A hub that answers does so within this time; the loaders wait longer, and fall back to the cache.
_WAIT_SECONDS = 10.0


def find_checkpoint(name_or_path: str | Path, *, allow_pickle: bool) -> str:
    """Return what `from_pretrained` takes: a folder that holds a whole checkpoint, or a name on the hub.

    Files that transformers reads into memory at once, such as config.json and tokenizer.json, are bounded in both
    cases. A name that neither the hub nor its cache has is left to the loader, which says so.

    Args:
        name_or_path: a folder, or a name on the hub.
        allow_pickle: accept a folder whose weights are pickles; unpickling can run any code of the file.

    Raises:
        InputError: there is no such folder, it holds no whole checkpoint (`require_checkpoint`), or a file is too
            large.
    """
    name = str(name_or_path)
    folder = Path(name).expanduser()
    if folder.exists():
        require_checkpoint(folder, allow_pickle=allow_pickle)
        return str(folder)
    if name.startswith((".", "/", "~")) or not _HUB_NAME.fullmatch(name):
        raise InputError(f"{name}: no such folder; give one that holds config.json and model.safetensors")
    _require_small_files_of(name)
    return name


def _require_small_files_of(name: str) -> None:
    """Refuse a model on the hub, or in its cache, that has a configuration or tokenizer file which is too large."""
    sizes = _sizes_on_hub(name)
    if sizes is None:
        cached = try_to_load_from_cache(name, "config.json")
        if isinstance(cached, str):
            require_small_files(Path(cached).parent)
        return
    bound = bound_of_description(DESCRIPTION_BYTES)
    for file, n_bytes in sorted(sizes.items()):
        if "/" not in file and PurePosixPath(file).suffix in READ_WHOLE and n_bytes > bound:
            raise too_large(f"{name}/{file}", n_bytes, bound)


def _sizes_on_hub(name: str) -> dict[str, int] | None:
    """File -> bytes; None if the hub cannot be asked, so that the loaders use its cache."""
    try:
        files = HfApi().model_info(name, files_metadata=True, timeout=_WAIT_SECONDS).siblings
    except Exception:  # offline, no connection, no such model: the HTTP library's errors differ by version
        return None
    return {file.rfilename: file.size or 0 for file in files or []}
