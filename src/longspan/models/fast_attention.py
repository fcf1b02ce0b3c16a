"""longspan's attention inside a model of transformers, in place and reversible.

Modules and weights stay as they are. The class of three kinds of modules changes to a subclass with a forward of this
package:

- the model: no padding to the window, no mask over pairs of tokens, both masks as booleans;
- its encoder: gives one `AttentionPlan` to transformers' layers, which pass it on (LED's encoder does the work of both;
  LED's decoder is not changed);
- the self-attention of each layer: `attend`.

To support another architecture, add its classes and their forwards to `_FAST_FORWARDS`.
"""

from functools import cache
from types import MethodType
from typing import Any, TypeVar

from torch import nn
from transformers import PreTrainedModel
from transformers.models.led import modeling_led as stock_led
from transformers.models.longformer import modeling_longformer as stock

from longspan.errors import InputError
from longspan.models.encoder import LongformerEncoder
from longspan.models.led import led_encoder_forward
from longspan.models.model import LongformerModel, LongformerPreTrainedModel
from longspan.models.self_attention import LongformerSelfAttention

Model = TypeVar("Model", bound=nn.Module)

# transformers' class -> the forward that replaces its own.
_FAST_FORWARDS: dict[type[nn.Module], Any] = {
    stock.LongformerModel: LongformerModel.forward,
    stock.LongformerEncoder: LongformerEncoder.forward,
    stock.LongformerSelfAttention: LongformerSelfAttention.forward,
    stock_led.LEDEncoder: led_encoder_forward,
    stock_led.LEDEncoderSelfAttention: LongformerSelfAttention.forward,
}


def use_fast_attention(model: Model) -> Model:
    """Use longspan's attention in transformers' Longformer, or in LED's encoder, in place; returns the same model.

    Parameters, buffers, names, hooks and the task head stay as they are: training can continue, and checkpoints do not
    change. `stop_fast_attention` undoes it, and so does the end of a `with` statement::

        with longspan.use_fast_attention(model):
            ...

    Args:
        model: transformers' `LongformerModel`, a model with one of its heads, an LED model (`LEDModel`,
            `LEDForConditionalGeneration`, ...), or any module that contains one (such as PEFT's). Models of longspan
            are returned unchanged.

    Raises:
        InputError: there is no Longformer or LED of transformers inside, or its forward is not transformers' own.
    """
    if isinstance(model, LongformerPreTrainedModel):
        return model
    found = [(module, kind) for module in model.modules() for kind in _FAST_FORWARDS if isinstance(module, kind)]
    if not found:
        raise InputError(
            f"{type(model).__name__} holds no Longformer and no LED of transformers; use_fast_attention takes these, "
            "with any head (longspan.extend makes a Longformer of another encoder)"
        )
    for module, kind in found:
        if not _is_fast(module) and type(module).forward is not kind.forward:
            raise InputError(
                f"{type(module).__name__} has a forward of its own, which longspan's attention would replace; "
                "use_fast_attention takes transformers' own classes"
            )
    for module, kind in found:
        _change_class(module, _FAST_FORWARDS[kind])
    if isinstance(model, PreTrainedModel):
        _change_class(model, None)
    return model


def stop_fast_attention(model: Model) -> Model:
    """Undo `use_fast_attention`, in place; returns the same model."""
    for module in model.modules():
        if _is_fast(module):
            module.__class__ = vars(type(module))["_stock_class"]
            _rebind_hooked_forward(module)
    return model


def _is_fast(module: nn.Module) -> bool:
    return "_stock_class" in vars(type(module))


def _change_class(module: nn.Module, forward: Any) -> None:
    if not _is_fast(module):
        module.__class__ = _fast_class(type(module), forward)
        _rebind_hooked_forward(module)


@cache
def _fast_class(stock_class: type[nn.Module], forward: Any) -> Any:
    """A subclass of the same name, with another forward if one is given."""
    body = {
        "__doc__": stock_class.__doc__,
        "__module__": stock_class.__module__,
        "__qualname__": stock_class.__qualname__,
        "__reduce_ex__": _reduce,
        "_stock_class": stock_class,
    }
    if forward is not None:
        body["forward"] = forward
    if issubclass(stock_class, PreTrainedModel):
        body |= {"__enter__": lambda self: self, "__exit__": lambda self, *_: stop_fast_attention(self) and None}
    return type(stock_class.__name__, (stock_class,), body)


def _reduce(self: nn.Module, protocol: Any) -> tuple[Any, ...]:
    """Copy and pickle as the stock class; `_rebuild` changes the class again."""
    fast = type(self)
    return _rebuild, (vars(fast)["_stock_class"], vars(fast).get("forward")), self.__dict__


def _rebuild(stock_class: type[nn.Module], forward: Any) -> nn.Module:
    fast = _fast_class(stock_class, forward)
    return fast.__new__(fast)


def _rebind_hooked_forward(module: nn.Module) -> None:
    """Update the forward that hooks of accelerate store on the module to that of its present class."""
    if "_old_forward" in module.__dict__:
        module.__dict__["_old_forward"] = MethodType(type(module).forward, module)
