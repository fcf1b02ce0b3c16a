"""Losses of the task heads, as transformers' Trainer needs them.

A loss is a mean over its targets. If the Trainer accumulates gradients over several batches, it passes
`num_items_in_batch`, the number of targets in all of them, and expects the batch's share of that mean. transformers'
own Longformer ignores this argument, so that its accumulated gradients are too large.

N targets  V classes (pieces of a vocabulary)  C model width
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Memory for scores in bytes of float32: 268 targets of a vocabulary of 250,002 at a time.
CHUNK_BYTES = 2**28
# The number of rows of a weight that are converted to another dtype at a time.
_BLOCK_ROWS = 2**15


def cross_entropy(
    logits_NV: Tensor, labels_N: Tensor, num_items_in_batch: Tensor | int | None = None, ignore_index: int = -100
) -> Tensor:
    """Mean cross-entropy in float32; zero instead of NaN if all targets are ignored."""
    labels_N = labels_N.to(logits_NV.device)
    loss = F.cross_entropy(logits_NV.float(), labels_N, ignore_index=ignore_index, reduction="sum")
    n_targets = (labels_N != ignore_index).sum().clamp(min=1)
    return _share(loss, n_targets, num_items_in_batch)


def squared_error(logits: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Mean squared error in float32 over all numbers."""
    loss = F.mse_loss(logits.float(), labels.to(logits.device).float(), reduction="sum")
    return _share(loss, max(labels.numel(), 1), num_items_in_batch)


def binary_cross_entropy(logits: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Mean binary cross-entropy in float32 over all labels, which are 0 or 1."""
    labels = labels.to(logits.device).float()
    loss = F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="sum")
    return _share(loss, max(labels.numel(), 1), num_items_in_batch)


def linear_cross_entropy(
    hidden_NC: Tensor,
    weight_VC: Tensor,
    bias_V: Tensor | None,
    labels_N: Tensor,
    num_items_in_batch: Tensor | int | None = None,
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> Tensor:
    """`cross_entropy(hidden_NC @ weight_VC.T + bias_V, labels_N)` without the scores of all targets in memory.

    Scores are computed for some targets at a time, and turned into the loss and the gradients in the same memory. Only
    the gradients have the size of the vocabulary after the call. Products are computed in autocast's dtype if autocast
    is on (gradients in float32 if it is float16, in which small ones would be zero), and sums in float32.

    Args:
        hidden_NC: vectors to score, [N, C]; with N = 0 the loss and the gradients are 0.
        weight_VC: output embeddings, [V, C].
        bias_V: added to the scores, [V]; None for no bias.
        labels_N: int64 [N], rows of `weight_VC`.
        num_items_in_batch: number of targets in all batches of the step; None for N.
        chunk_bytes: memory for scores.

    Returns:
        The loss, a float32 scalar. It can be differentiated once.
    """
    wants = [torch.is_grad_enabled() and x is not None and x.requires_grad for x in (hidden_NC, weight_VC, bias_V)]
    loss: Any = _LinearCrossEntropy.apply(hidden_NC, weight_VC, bias_V, labels_N, wants, chunk_bytes)
    return _share(loss, max(len(labels_N), 1), num_items_in_batch)


@torch.no_grad()
def linear_log_probabilities(
    hidden_NC: Tensor,
    weight_VC: Tensor,
    bias_V: Tensor | None,
    labels_N: Tensor,
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> Tensor:
    """The log-probability (nats) of each target, float32 [N]; arguments as in `linear_cross_entropy`."""
    scorer = _Scorer(hidden_NC, weight_VC, bias_V)
    found = torch.empty(len(labels_N), dtype=scorer.sum_dtype, device=hidden_NC.device)
    for part in _parts(len(labels_N), weight_VC.shape[0], chunk_bytes):
        found[part], _, _ = scorer.log_probabilities(part, labels_N)
    return found


class _Scorer:
    """Computes the scores of some targets at a time, in the dtype of autocast."""

    def __init__(self, hidden_NC: Tensor, weight_VC: Tensor, bias_V: Tensor | None) -> None:
        device = weight_VC.device.type
        self.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VC.dtype
        self.sum_dtype = torch.promote_types(self.dtype, torch.float32)
        self.hidden_NC, self.weight_VC, self.bias_V = hidden_NC.to(self.dtype), weight_VC, bias_V

    def blocks(self, dtype: torch.dtype) -> Any:
        """Yield (rows, these rows of the weight in `dtype`); all rows at once if the weight has that dtype."""
        V = self.weight_VC.shape[0]
        size = V if self.weight_VC.dtype == dtype else _BLOCK_ROWS
        for start in range(0, V, size):
            rows = slice(start, min(start + size, V))
            yield rows, self.weight_VC[rows].to(dtype)

    def log_probabilities(self, part: slice, labels_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For the targets in `part`: log-probability of the label [n], exp(score - maximum) [n, V], its sums [n, 1]."""
        hidden_nC, labels_n1 = self.hidden_NC[part], labels_N[part].unsqueeze(1)
        with torch.autocast(hidden_nC.device.type, enabled=False):
            score_nV = hidden_nC.new_empty((len(hidden_nC), self.weight_VC.shape[0]), dtype=self.sum_dtype)
            for rows, block in self.blocks(self.dtype):
                if self.dtype == self.sum_dtype:
                    torch.mm(hidden_nC, block.T, out=score_nV[:, rows])
                else:
                    score_nV[:, rows] = hidden_nC @ block.T
            if self.bias_V is not None:
                score_nV += self.bias_V
            label_score_n1 = score_nV.gather(1, labels_n1)
            largest_n1 = score_nV.amax(dim=1, keepdim=True)
            score_nV.sub_(largest_n1).exp_()
            total_n1 = score_nV.sum(dim=1, keepdim=True)
            return (label_score_n1 - largest_n1 - total_n1.log()).squeeze(1), score_nV, total_n1


class _LinearCrossEntropy(torch.autograd.Function):
    """The sum of `linear_cross_entropy`; the forward computes the gradients too, while it has the scores."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        hidden_NC, weight_VC, bias_V, labels_N, wants, chunk_bytes = inputs
        wants_hidden, wants_weight, wants_bias = wants
        scorer = _Scorer(hidden_NC, weight_VC, bias_V)
        # Small gradients would be zero in float16, whose loss scale is applied later.
        dtype = torch.float32 if scorer.dtype == torch.float16 else scorer.dtype
        sums = {"dtype": scorer.sum_dtype, "device": hidden_NC.device}
        grad_hidden_NC = torch.zeros(hidden_NC.shape, **sums) if wants_hidden else None
        grad_weight_VC = torch.zeros(weight_VC.shape, **sums) if wants_weight else None
        grad_bias_V = torch.zeros(bias_V.shape, **sums) if wants_bias else None
        loss = torch.zeros((), **sums)
        for part in _parts(len(labels_N), weight_VC.shape[0], chunk_bytes):
            log_p_n, grad_nV, total_n1 = scorer.log_probabilities(part, labels_N)
            loss -= log_p_n.sum()
            if not any(wants):
                continue
            grad_nV.div_(total_n1)  # the softmax
            labels_n1 = labels_N[part].unsqueeze(1)
            grad_nV.scatter_add_(1, labels_n1, torch.full_like(labels_n1, -1, dtype=grad_nV.dtype))
            if grad_bias_V is not None:
                grad_bias_V += grad_nV.sum(dim=0)
            hidden_nC = scorer.hidden_NC[part].to(dtype)
            with torch.autocast(hidden_nC.device.type, enabled=False):
                for rows, block in scorer.blocks(dtype):
                    grad_of_rows = grad_nV[:, rows].to(dtype)
                    if grad_hidden_NC is not None:
                        _add_product(grad_hidden_NC[part], grad_of_rows, block)
                    if grad_weight_VC is not None:
                        _add_product(grad_weight_VC[rows], grad_of_rows.T, hidden_nC)
            del grad_nV  # free it before the scores of the next chunk
        ctx.gradients = [grad_hidden_NC, grad_weight_VC, grad_bias_V]
        ctx.dtypes = [None if x is None else x.dtype for x in (hidden_NC, weight_VC, bias_V)]
        return loss

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - once_differentiable hides the signature
        ctx: Any, grad_loss: Tensor
    ) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("linear_cross_entropy does not keep its gradients: only one backward is possible")
        gradients, ctx.gradients = ctx.gradients, None
        found = [
            None if x is None else x.mul_(grad_loss).to(dtype) for x, dtype in zip(gradients, ctx.dtypes, strict=True)
        ]
        return (*found, None, None, None)


def _add_product(into: Tensor, left: Tensor, right: Tensor) -> None:
    """`into += left @ right`, summed in the dtype of `into`."""
    if left.dtype == into.dtype:
        into.addmm_(left, right)
    else:
        into += left @ right


def _parts(n: int, n_classes: int, chunk_bytes: int) -> list[slice]:
    """Slices of n targets, of about equal length, whose float32 scores fit into `chunk_bytes`."""
    if not n:
        return []
    n_parts = -(-n * n_classes * 4 // chunk_bytes)
    size = -(-n // n_parts)
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _share(loss: Tensor, n_here: Tensor | int, n_everywhere: Tensor | int | None) -> Tensor:
    """A sum over targets divided by the number of targets in the step."""
    n_targets = n_here if n_everywhere is None else n_everywhere
    if isinstance(n_targets, Tensor):
        # A step without targets has the loss 0, as each of its batches.
        return loss / n_targets.to(loss.device).clamp(min=1)
    return loss / max(n_targets, 1)
