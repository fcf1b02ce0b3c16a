"""transformers' TrainingArguments as recipe fields: their names and types, and the names they used to have."""

import dataclasses
import enum
import functools
import json
import types
import typing
from collections.abc import Callable
from typing import Any, Literal

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from longspan.errors import InputError


@functools.cache
def argument_types() -> dict[str, Any]:
    """Name -> type of every field of the installed transformers' TrainingArguments."""
    from transformers import TrainingArguments

    hints = typing.get_type_hints(TrainingArguments)
    return {field.name: hints[field.name] for field in dataclasses.fields(TrainingArguments) if field.init}


def convert(value: Any, annotation: Any) -> Any:
    """Convert `value` from YAML or the command line to the type `annotation`: "3e-5" is a number, "true" a bool.

    Raises:
        TypeError: it is not of that type; the message names the type.
    """
    parts = _parts(annotation)
    enums = [part for part in parts if isinstance(part, type) and issubclass(part, enum.Enum)]
    if enums:
        # YAML 1.1 reads an unquoted `no` as false, and "no" is what several strategies are called.
        text = {False: "no", True: "yes"}.get(value, value) if isinstance(value, bool) else value
        for kind in enums:
            if text in [member.value for member in kind]:
                return kind(text).value
        raise TypeError(expected(annotation))
    if value is None or (value in ("null", "None") and type(None) in parts):
        if type(None) in parts:
            return None
        raise TypeError(expected(annotation))
    if isinstance(value, bool) and bool not in parts and not any(_has_choice(part, value) for part in parts):
        raise TypeError(expected(annotation))
    if isinstance(value, str):
        if bool in parts and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if value.startswith(("{", "[")) and any(
            typing.get_origin(part) in (dict, list) or part is dict for part in parts
        ):
            value = _from_json(value, annotation)
    is_list_only = all(typing.get_origin(part) is list or part is type(None) for part in parts)
    if is_list_only and isinstance(value, (str, int, float)):
        value = [value]  # `freeze: word_embeddings` is a list of one
    try:
        return _adapter(annotation).validate_python(value)
    except ValidationError:
        raise TypeError(expected(annotation)) from None


def expected(annotation: Any) -> str:
    """Describe a type in words: "a number", "one of linear, cosine"."""
    words = [_words(part) for part in _parts(annotation)]
    enums = [part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, enum.Enum)]
    if enums:  # `SchedulerType | str` means the names of SchedulerType
        words = [_words(part) for part in enums]
    return " or ".join(dict.fromkeys(words))


def _words(part: Any) -> str:
    simple = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    if part in simple:
        return simple[part]
    if isinstance(part, type) and issubclass(part, enum.Enum):
        return "one of " + ", ".join(str(member.value) for member in part)
    origin = typing.get_origin(part)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in typing.get_args(part))
    if origin is list:
        return f"a list ({_words(typing.get_args(part)[0])} each)"
    if origin is dict or part is dict:
        return "a mapping"
    return getattr(part, "__name__", str(part))


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, without Annotated around them."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _parts(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(inner for part in typing.get_args(annotation) for inner in _parts(part))
    return (annotation,)


def _has_choice(part: Any, value: Any) -> bool:
    return typing.get_origin(part) is Literal and any(choice is value for choice in typing.get_args(part))


def _from_json(text: str, annotation: Any) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise TypeError(expected(annotation) + ", written as JSON") from None


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    config = ConfigDict(arbitrary_types_allowed=True)
    try:
        return TypeAdapter(annotation, config=config)
    except PydanticUserError:  # a type that has its own pydantic configuration
        return TypeAdapter(annotation)


def _rename(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {name: value}


def _share(name: str) -> Callable[[Any], dict[str, Any]]:
    def take(value: Any) -> dict[str, Any]:
        share = convert(value, float)
        if not 0 <= share < 1:
            raise TypeError(f"a share, at least 0 and below 1 ({name} takes a number of steps)")
        return {name: share}

    return take


def _switch(name: str, on: Any, off: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {name: on if _is_true(value) else off}


def _is_true(value: Any) -> bool:
    try:
        return convert(value, bool)
    except TypeError:
        raise TypeError(expected(bool)) from None


# Former names of fields, in transformers and in the recipes of papers -> their present names.
OLD_NAMES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "adafactor": _switch("optim", "adafactor", "adamw_torch"),
    "doc_stride": _rename("overlap"),
    "evaluate_during_training": _switch("eval_strategy", "steps", "no"),
    "evaluation_strategy": _rename("eval_strategy"),
    "group_by_length": _switch("train_sampling_strategy", "group_by_length", "random"),
    "max_pos": _rename("max_tokens"),
    "max_seq_length": _rename("max_length"),
    "model_max_length": _rename("max_tokens"),
    "model_name": _rename("name"),
    "model_name_or_path": _rename("model"),
    "no_cuda": _rename("use_cpu"),
    "nr_concats": _rename("n_concat"),
    "overwrite": _rename("overwrite_output_dir"),
    "per_gpu_eval_batch_size": _rename("per_device_eval_batch_size"),
    "per_gpu_train_batch_size": _rename("per_device_train_batch_size"),
    "push_to_hub_model_id": _rename("hub_model_id"),
    "push_to_hub_token": _rename("hub_token"),
    "train_file_path": _rename("train_data"),
    "val_file_path": _rename("eval_data"),
    "valid_file_path": _rename("eval_data"),
    "warmup_ratio": _share("warmup_steps"),  # below 1 it is a share of all steps
}
# Pairs of names: older versions of transformers have only the first, later ones prefer the second.
_SAME = {
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}
# Fields without effect today: accepted with a warning, so that old command lines still run.
GONE = {
    "fp16_backend": "autocast is the only one left",
    "fp16_full_precision": "autocast is the only one left",
    "fp16_opt_level": "autocast has no levels",
    "half_precision_backend": "autocast is the only one left",
    "jit_mode_eval": "transformers removed it",
    "logging_dir": "logs are in output_dir/logs",
    "model_type": "the model says what it is",
    "save_safetensors": "checkpoints are always safetensors",
    "tpu_num_cores": "transformers removed it",
    "use_ipex": "transformers removed it",
    "use_mps_device": "the device is found by itself; `use_cpu` stays on the processor",
}


def modern_fields(name: str, value: Any) -> dict[str, Any]:
    """Return `{name: value}` under the present name; an empty dict for a removed field (`GONE` says why).

    Raises:
        InputError: an old switch has a value that is neither true nor false.
    """
    if name in GONE:
        return {}
    known = argument_types()
    for old, new in _SAME.items():
        if name == old and new in known:
            return {new: value}
        if name == new and new not in known:
            return {old: value}
    if name in known or name not in OLD_NAMES:
        return {name: value}
    try:
        return OLD_NAMES[name](value)
    except TypeError as error:
        raise InputError(f"{name} is {value!r}; it must be {error}") from None
