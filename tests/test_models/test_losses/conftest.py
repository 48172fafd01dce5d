import pytest
import torch


@pytest.fixture
def example():
    """Logits of two images and four classes, and their labels {0, 2} and {1}."""
    logits = torch.tensor([[2, -1, 0.5, 0], [-0.5, 1, -2, 0.3]], dtype=torch.float64)
    return logits, torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0]])
