import pytest
import torch

from mmorderless.models.losses.softmax_squared import SoftmaxSquaredLoss

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0]])
LABELS = torch.tensor([[1.0, 0, 1, 0]])


def test_squared_error_by_hand():
    loss = SoftmaxSquaredLoss()
    assert loss(LOGITS, LABELS).item() == pytest.approx(0.171287, abs=1e-6)
    uniform = loss(torch.zeros(1, 4), torch.zeros(1, 4))  # no label: the target is 0
    assert uniform.item() == pytest.approx(4 / 16)
