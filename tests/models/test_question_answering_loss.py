"""The loss over several gold answers."""

import pytest
import torch

IDS = torch.tensor([[0, 7, 8, 2, 2, 9, 10, 11, 2, 1], [0, 9, 2, 2, 12, 13, 14, 15, 16, 2]])


@pytest.fixture
def model(tiny_model):
    return tiny_model("question answering")


def loss_of(model, starts, ends):
    return model(IDS, attention_mask=(IDS != 1).long(), start_positions=starts, end_positions=ends)


def expected(logits, positions):
    """-log of the total probability of the wanted tokens."""
    p = logits.double().softmax(dim=-1)
    return -torch.stack([p[b, sorted(set(row))].sum() for b, row in enumerate(positions)]).log()


def test_loss_uses_the_probability_of_all_answers(model):
    starts, ends = [[5, 7], [4, 6, 8]], [[6, 7], [5, 6, 9]]
    padded = [torch.tensor([[*row, *[-1] * (4 - len(row))] for row in rows]) for rows in (starts, ends)]
    output = loss_of(model, *padded)
    wanted = (expected(output.start_logits, starts).mean() + expected(output.end_logits, ends).mean()) / 2
    assert output.loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    # Repeated positions count once, and where -1 stands does not matter.
    shuffled = [torch.cat([rows.flip(1), rows], dim=1) for rows in padded]
    assert loss_of(model, *shuffled).loss.item() == pytest.approx(output.loss.item(), rel=1e-6)


def test_one_answer_per_row_is_the_usual_loss(model):
    starts, ends = torch.tensor([5, 4]), torch.tensor([6, 9])
    usual = loss_of(model, starts, ends).loss
    wide = [torch.stack([x, torch.full_like(x, -1)], dim=1) for x in (starts, ends)]
    torch.testing.assert_close(loss_of(model, *wide).loss, usual)
    assert torch.equal(loss_of(model, starts[:, None], ends[:, None]).loss, usual)


def test_rows_without_a_visible_answer_are_ignored(model):
    starts, ends = torch.tensor([[5, 7], [-1, 10]]), torch.tensor([[6, 7], [99, -1]])
    output = loss_of(model, starts, ends)
    first = (expected(output.start_logits, [[5, 7]]) + expected(output.end_logits, [[6, 7]])) / 2
    assert output.loss.item() == pytest.approx(first.item(), rel=1e-5)
    nothing = torch.full((2, 3), -1)
    output = loss_of(model, nothing, nothing)
    output.loss.backward()
    assert output.loss.item() == 0
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert not any(gradient.any() for gradient in gradients)


def test_training_reduces_the_loss(model):
    starts, ends = torch.tensor([[5, 7], [4, 6]]), torch.tensor([[6, 7], [5, 6]])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(8):
        optimizer.zero_grad()
        loss_of(model, starts, ends).loss.backward()
        optimizer.step()
    output = loss_of(model, starts, ends)
    assert output.loss < 0.5
    assert all(at in row for at, row in zip(output.start_logits.argmax(1).tolist(), starts.tolist(), strict=True))


def test_accumulated_batches_share_the_mean(model):
    starts, ends = torch.tensor([[5, 7], [4, 6]]), torch.tensor([[6, 7], [5, 6]])
    whole = loss_of(model, starts, ends).loss
    share = model(
        IDS,
        attention_mask=(IDS != 1).long(),
        start_positions=starts,
        end_positions=ends,
        num_items_in_batch=torch.tensor(8),
    ).loss
    torch.testing.assert_close(share, whole / 4)
