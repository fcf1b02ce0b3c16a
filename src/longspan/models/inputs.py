"""Checks of the inputs of a forward.

B batch rows  T tokens  C model width
"""

import torch
from torch import Tensor

from longspan.errors import InputError


def check_input(input_ids: Tensor | None, inputs_embeds: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
    """Which of `input_ids` [B, T] and `inputs_embeds` [B, T, C] was given, with B and T.

    Raises:
        InputError: both or none were given, or the shape is wrong.
    """
    inputs = input_ids if input_ids is not None else inputs_embeds
    if inputs is None or (input_ids is not None and inputs_embeds is not None):
        raise InputError("give one of input_ids and inputs_embeds")
    if inputs.dim() != (2 if input_ids is not None else 3):
        raise InputError(
            f"input_ids must have shape (rows, tokens) and inputs_embeds (rows, tokens, width), not "
            f"{tuple(inputs.shape)}"
        )
    return inputs, (inputs.shape[0], inputs.shape[1])


def as_bool(name: str, mask_BT: Tensor | None, shape: tuple[int, int]) -> Tensor | None:
    """A mask as bool, True above 0; `shape` is B and T.

    Raises:
        InputError: the mask has another shape.
    """
    check_shape(name, mask_BT, shape)
    return None if mask_BT is None else mask_BT > 0


def check_shape(name: str, x_BT: Tensor | None, shape: tuple[int, int], *, or_one_row: bool = False) -> None:
    """Raise an InputError that names `name` unless it is None or [B, T] (`or_one_row`: or [1, T])."""
    if x_BT is None or tuple(x_BT.shape) == shape or (or_one_row and tuple(x_BT.shape) == (1, shape[1])):
        return
    raise InputError(f"{name} has shape {tuple(x_BT.shape)}, but the input has {shape} (rows, tokens)")


def none_if_all(is_token_BT: Tensor | None) -> Tensor | None:
    """Replace an all-True mask by None, on the CPU only, where reading it is cheap."""
    if is_token_BT is None or is_token_BT.device.type != "cpu" or torch.compiler.is_compiling():
        return is_token_BT
    return None if bool(is_token_BT.all()) else is_token_BT


def value_or_config(value: bool | None, of_config: bool | None) -> bool:
    """`value`, or the value of the configuration if it is None."""
    return bool(of_config if value is None else value)
