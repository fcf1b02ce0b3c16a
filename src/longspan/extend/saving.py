"""Saves an extended model atomically: checkpoint, tokenizer, model card and proof."""

from pathlib import Path

from safetensors import SafetensorError

from longspan.errors import InputError
from longspan.extend.card import extension_card
from longspan.extend.extension import Extended
from longspan.extend.sentence_modules import copy_modules
from longspan.files import replace_directory
from longspan.records import write_record
from longspan.replacing import resolved

PROOF_FILE = "proof.json"


def save_extended(extended: Extended, destination: str | Path, overwrite: bool = False) -> Path:
    """Save model, tokenizer, model card (`README.md`) and `proof.json`; returns the folder.

    The modules of a sentence-transformers model (pooling, normalisation, dense layers) are copied from its source. A
    killed run leaves the old content of `destination`.

    Args:
        extended: the result of `extend`.
        destination: the folder to make.
        overwrite: allow `destination` to hold files; they are removed.

    Raises:
        InputError: `destination` is a file, not empty while `overwrite` is False, not writable, or the disk is full.
    """
    destination = Path(destination)
    model, tokenizer, proof = extended
    with replace_directory(destination, overwrite=overwrite) as folder:
        try:
            model.save_pretrained(folder)
        except SafetensorError as error:  # safetensors wraps the system's errors, such as a full disk
            raise InputError(f"cannot write {destination}: {error}; choose another place") from error
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        write_record(proof, folder / PROOF_FILE)
        modules = copy_modules(proof.source, folder, proof.max_tokens)
        card = extension_card(model, proof, resolved(destination).name, tokenizer=tokenizer, modules=modules)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return destination
