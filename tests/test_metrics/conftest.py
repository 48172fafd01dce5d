import numpy as np
import pytest


@pytest.fixture(params=range(5))
def sets(request):
    """Random predicted and true sets, with empty rows, and classes that one of them lacks."""
    rng = np.random.default_rng(request.param)
    predicted, truth = rng.random((2, 40, 7)) < 0.3
    predicted[:3] = False
    truth[2:5] = False
    predicted[:, 0] = False
    truth[:, 1] = False
    return predicted, truth
