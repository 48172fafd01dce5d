"""The hook checks the bare model before weights are loaded, in training and in evaluation."""

from types import SimpleNamespace

import pytest
import torch
from mmpretrain.registry import HOOKS
from torch import nn

from mmorderless.engine.hooks.checkpoint_match_hook import CheckpointMatchHook


def runner_of(model: nn.Module) -> SimpleNamespace:
    return SimpleNamespace(model=model, _resume=False)


@pytest.mark.parametrize("wrap", [lambda model: model, nn.DataParallel])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_matching_checkpoint_is_accepted_with_and_without_wrapper(wrap, prefix):
    state = {prefix + name: tensor for name, tensor in nn.Linear(2, 3).state_dict().items()}
    for complete in (False, True):
        hook = CheckpointMatchHook(complete=complete)
        hook.after_load_checkpoint(runner_of(wrap(nn.Linear(2, 3))), {"state_dict": state})


def test_checkpoint_without_matching_weights_is_an_error():
    checkpoint = {"state_dict": {"backbone.weight": torch.zeros(3, 2)}, "meta": {}}
    hook = HOOKS.build(dict(type="CheckpointMatchHook"))
    with pytest.raises(ValueError, match=r"backbone\.weight \(3, 2\).*weight \(3, 2\).*use a"):
        hook.after_load_checkpoint(runner_of(nn.Linear(2, 3)), checkpoint)


def test_evaluation_needs_every_weight_but_training_does_not():
    checkpoint = {"state_dict": {"weight": torch.zeros(3, 2)}}
    CheckpointMatchHook().after_load_checkpoint(runner_of(nn.Linear(2, 3)), checkpoint)
    with pytest.raises(ValueError, match="lacks 1 of the model's 2 weights"):
        CheckpointMatchHook(complete=True).after_load_checkpoint(
            runner_of(nn.Linear(2, 3)), checkpoint
        )
