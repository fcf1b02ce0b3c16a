"""Saves an extended model atomically: checkpoint, tokenizer, model card and proof."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.extend.extension import Extended
from longspan.extend.sentence_modules import copy_modules
from longspan.extend.sources import find_facts, public_name
from longspan.extend.verify import format_proof
from longspan.files import replace_directory
from longspan.models.heads import HEADS
from longspan.models.model_card import separator_warning, stock_warning
from longspan.records import ProofRecord, write_record
from longspan.replacing import resolved

PROOF_FILE = "proof.json"

_POSITIONS_IN_WORDS = {
    "copy": "repeated over the new length",
    "interpolate": "interpolated linearly over the new length (every position reads another row than before)",
    "random": "kept; the rows after them are random",
}
_SENTENCES = """\
```python
from sentence_transformers import SentenceTransformer

embeddings = SentenceTransformer("{title}").encode(["A long document ..."])
```

"""


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
        card = write_card(model, proof, resolved(destination).name, tokenizer=tokenizer, modules=modules)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return destination


def write_card(
    model: PreTrainedModel,
    proof: ProofRecord,
    title: str,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    modules: Sequence[str] = (),
) -> str:
    """Write the model card: tags, how the model was made, its proof, and how to use it.

    Args:
        model: the long model.
        proof: its proof.
        title: title of the card, the name of the model's folder.
        tokenizer: the model's tokenizer.
        modules: paths of the sentence-transformers modules in the folder.
    """
    facts = find_facts(proof.source)
    head = next(head for head in HEADS.values() if type(model).__name__.endswith(head.class_ending))
    tags: dict[str, Any] = {
        "library_name": "transformers",
        "tags": ["longspan", "longformer", "long-context"],
        "pipeline_tag": head.pipeline_tag,
    }
    if modules:
        tags["tags"].append("sentence-transformers")
    if facts.base_model:
        tags["base_model"] = facts.base_model
    if facts.license:
        tags["license"] = facts.license
    if facts.languages:
        tags["language"] = facts.languages
    class_name = type(model).__name__
    windows = sorted(set(proof.attention_window))
    config: Any = model.config
    warning = stock_warning(config)
    lines = [
        "---",
        yaml.safe_dump(tags, sort_keys=False, allow_unicode=True).strip(),
        "---",
        "",
        f"# {title}",
        "",
        f"A {proof.family} encoder of {proof.old_max_tokens:,} tokens, extended to a Longformer of "
        f"{proof.max_tokens:,} tokens by longspan. It was not trained after the extension: train it on long text or on "
        "the task before you expect it to use long inputs.",
        "",
        *([warning] if warning else []),
        "## How it was made",
        "",
        f"- source: `{public_name(proof.source)}` ({proof.family}, {proof.old_max_tokens:,} tokens)",
        f"- longest input: {proof.max_tokens:,} tokens",
        f"- attention window, both sides together: {', '.join(map(str, windows))}"
        + ("" if len(windows) == 1 else f" (layer by layer {proof.attention_window})"),
        f"- trained position rows: {_POSITIONS_IN_WORDS[proof.positions]}",
        "- projections of global tokens: copies of the local ones",
        *[f"- {note}" for note in proof.notes],
        *([f"- sentence-transformers modules, unchanged: {', '.join(modules)}"] if modules else []),
        f"- made with {_versions(proof)} on {proof.made.date}",
        "",
        "## Proof",
        "",
        "Comparison with the source, in float32, at real tokens only; deviations are absolute, and relative for values "
        "above 1.",
        "",
        format_proof(proof, markdown=True),
        "",
        "## Use",
        "",
        "```python",
        f"from longspan import {class_name}",
        "from transformers import AutoTokenizer",
        "",
        f'model = {class_name}.from_pretrained("{title}")',
        f'tokenizer = AutoTokenizer.from_pretrained("{title}")',
        'outputs = model(**tokenizer("A long document ...", return_tensors="pt"))',
        "```",
        "",
        *(_SENTENCES.format(title=title).splitlines() if modules else []),
        *([] if warning else [f"Stock transformers loads it as `transformers.{class_name}`.", ""]),
        *([separators, ""] if (separators := separator_warning(class_name, tokenizer)) else []),
    ]
    return "\n".join(lines)


def _versions(proof: ProofRecord) -> str:
    versions = proof.made.machine.versions
    return ", ".join(f"{name} {versions[name]}" for name in ("longspan", "torch", "transformers") if name in versions)
