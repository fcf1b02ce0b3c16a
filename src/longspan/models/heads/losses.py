"""Losses of the task heads, as transformers' Trainer wants them.

A loss is a mean over its targets; where the Trainer accumulates gradients over several batches it passes
`num_items_in_batch`, the number of targets in all of them, and expects a share of that mean. transformers' own
Longformer takes that argument and ignores it, so that its accumulated gradients are too large.

N targets  V classes
"""

import torch.nn.functional as F
from torch import Tensor


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


def _share(loss: Tensor, n_here: Tensor | int, n_everywhere: Tensor | int | None) -> Tensor:
    n_targets = n_here if n_everywhere is None else n_everywhere
    return loss / (n_targets.to(loss.device) if isinstance(n_targets, Tensor) else n_targets)
