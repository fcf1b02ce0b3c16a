"""Run by test_sharding.py in two processes: a training step of a sharded model equals that of the whole model."""

import copy

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

import longspan


def main() -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    config = longspan.LongformerConfig(
        vocab_size=60, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=70, attention_window=8, type_vocab_size=1, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, pad_token_id=1,
    )  # fmt: skip
    whole = longspan.LongformerForMaskedLM(config).train()
    for name, parameter in whole.named_parameters():
        parameter.requires_grad_("_global" not in name)
    sharded = copy.deepcopy(whole)
    mesh = init_device_mesh("cpu", (2,))
    for layer in sharded.longformer.encoder.layer:
        fully_shard(layer, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    ids = torch.randint(4, 60, (2, 40))
    labels = ids.where(torch.rand(2, 40) < 0.3, torch.tensor(-100))
    n_items = (labels != -100).sum()
    row = slice(dist.get_rank(), dist.get_rank() + 1)
    whole(input_ids=ids, labels=labels, num_items_in_batch=n_items).loss.backward()
    # Gradients are means over processes; each has one of the two rows.
    (sharded(input_ids=ids[row], labels=labels[row], num_items_in_batch=n_items).loss * 2).backward()
    for (name, ours), theirs in zip(sharded.named_parameters(), whole.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad.full_tensor(), theirs.grad, atol=1e-5, rtol=1e-4, msg=name)
    register_fsdp_forward_method(sharded, "log_probabilities")
    found = sharded.eval().log_probabilities(ids, labels)
    torch.testing.assert_close(found, whole.eval().log_probabilities(ids, labels))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
