"""Losses of the task heads, as transformers' Trainer wants them.

A loss is a mean over its targets; where the Trainer accumulates gradients over several batches it passes
`num_items_in_batch`, the number of targets in all of them, and expects a share of that mean. transformers' own
Longformer takes that argument and ignores it, so that its accumulated gradients are too large.

N targets  V classes (pieces of a vocabulary)  C model width
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Scores that are held at a time, in bytes of float32: 268 targets of a vocabulary of 250,002.
CHUNK_BYTES = 2**28
# Rows of a weight that are converted to another dtype at a time.
_BLOCK_ROWS = 2**15


def cross_entropy(
    logits_NV: Tensor, labels_N: Tensor, num_items_in_batch: Tensor | int | None = None, ignore_index: int = -100
) -> Tensor:
    """Cross-entropy in float32; zero, not NaN, where all targets are ignored."""
    labels_N = labels_N.to(logits_NV.device)
    loss = F.cross_entropy(logits_NV.float(), labels_N, ignore_index=ignore_index, reduction="sum")
    n_targets = (labels_N != ignore_index).sum().clamp(min=1)
    return _share(loss, n_targets, num_items_in_batch)


def squared_error(logits: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Mean squared error over all numbers."""
    loss = F.mse_loss(logits.float(), labels.to(logits.device).float(), reduction="sum")
    return _share(loss, max(labels.numel(), 1), num_items_in_batch)


def binary_cross_entropy(logits: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Mean binary cross-entropy over all labels, each of which is there or not."""
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
    """`cross_entropy(hidden_NC @ weight_VC.T + bias_V, labels_N)`, without the scores of all targets at any time.

    Scores are made for some targets at a time, turned into the loss and at once, in the same memory, into gradients:
    beside the gradients themselves nothing of the size of the vocabulary outlives the call. Products are computed in
    autocast's dtype where that is on (gradients in float32 where it is float16, whose range the small ones leave),
    sums in float32.

    Args:
        hidden_NC: what is scored, [N, C]; N may be 0, then the loss is 0 and so are the gradients.
        weight_VC: the output embeddings, [V, C].
        bias_V: added to the scores, [V].
        labels_N: int64, every one a row of `weight_VC`.
        num_items_in_batch: targets in all batches of the step; those given here where None.
        chunk_bytes: how much the scores held at a time may take.

    Returns:
        The loss, float32, without a dimension. It can be differentiated once.
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
    """Natural logarithm of the probability of each target, float32 [N]; arguments as `linear_cross_entropy`."""
    scorer = _Scorer(hidden_NC, weight_VC, bias_V)
    found = torch.empty(len(labels_N), dtype=scorer.sum_dtype, device=hidden_NC.device)
    for part in _parts(len(labels_N), weight_VC.shape[0], chunk_bytes):
        found[part], _, _ = scorer.log_probabilities(part, labels_N)
    return found


class _Scorer:
    """Scores of some targets at a time, in the dtype that autocast would use."""

    def __init__(self, hidden_NC: Tensor, weight_VC: Tensor, bias_V: Tensor | None) -> None:
        device = weight_VC.device.type
        self.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VC.dtype
        self.sum_dtype = torch.promote_types(self.dtype, torch.float32)
        self.hidden_NC, self.weight_VC, self.bias_V = hidden_NC.to(self.dtype), weight_VC, bias_V

    def blocks(self, dtype: torch.dtype) -> Any:
        """(rows, those rows of the weight in `dtype`), all of them at once where they are of that dtype."""
        V = self.weight_VC.shape[0]
        size = V if self.weight_VC.dtype == dtype else _BLOCK_ROWS
        for start in range(0, V, size):
            rows = slice(start, min(start + size, V))
            yield rows, self.weight_VC[rows].to(dtype)

    def log_probabilities(self, part: slice, labels_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the targets in `part`: log-probability of the label [n], exp(score - largest) [n, V], its sums [n, 1]."""
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
    """The sum of `linear_cross_entropy`; gradients are made in the forward, where the scores are at hand."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        hidden_NC, weight_VC, bias_V, labels_N, wants, chunk_bytes = inputs
        wants_hidden, wants_weight, wants_bias = wants
        scorer = _Scorer(hidden_NC, weight_VC, bias_V)
        # Small gradients are zero in float16, and its loss scale comes later only.
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
            del grad_nV  # before the next chunk's scores, not after them
        ctx.gradients = [grad_hidden_NC, grad_weight_VC, grad_bias_V]
        ctx.dtypes = [None if x is None else x.dtype for x in (hidden_NC, weight_VC, bias_V)]
        return loss

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - once_differentiable hides the signature
        ctx: Any, grad_loss: Tensor
    ) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError(
                "linear_cross_entropy hands its gradients on and keeps none: only one backward is possible"
            )
        gradients, ctx.gradients = ctx.gradients, None
        found = [
            None if x is None else x.mul_(grad_loss).to(dtype) for x, dtype in zip(gradients, ctx.dtypes, strict=True)
        ]
        return (*found, None, None, None)


def _add_product(into: Tensor, left: Tensor, right: Tensor) -> None:
    """`into += left @ right`; the sum is in `into`'s dtype."""
    if left.dtype == into.dtype:
        into.addmm_(left, right)
    else:
        into += left @ right


def _parts(n: int, n_classes: int, chunk_bytes: int) -> list[slice]:
    """Even parts of n targets whose scores, in float32, fit into `chunk_bytes`."""
    if not n:
        return []
    n_parts = -(-n * n_classes * 4 // chunk_bytes)
    size = -(-n // n_parts)
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _share(loss: Tensor, n_here: Tensor | int, n_everywhere: Tensor | int | None) -> Tensor:
    n_targets = n_here if n_everywhere is None else n_everywhere
    if isinstance(n_targets, Tensor):
        # A step in which nothing is asked for has the loss 0, as each of its batches.
        return loss / n_targets.to(loss.device).clamp(min=1)
    return loss / max(n_targets, 1)
