"""Where a row looked for its token."""

import torch

from mmorderless.models.decoders.rows import weights_of

R, C, L = 3, 4, 5


def test_the_weights_of_a_label_are_its_class_map_and_those_of_end_the_mean_of_all():
    maps = torch.rand(R, C, L).softmax(2)
    found = weights_of(torch.tensor([2, C, 0]), maps)
    torch.testing.assert_close(found, torch.stack([maps[0, 2], maps[1].mean(0), maps[2, 0]]))
    torch.testing.assert_close(found.sum(1), torch.ones(R))


def test_weights_that_do_not_depend_on_the_token_stay():
    weights = torch.rand(R, L)
    assert weights_of(torch.tensor([2, C, 0]), weights) is weights
