"""State that hooks saved in a checkpoint and that is damaged or of another model is one line."""

from types import SimpleNamespace

import pytest
import torch

from mmorderless.engine.hooks.deterministic_resume_hook import DeterministicResumeHook
from mmorderless.engine.hooks.swa_hook import SWAHook


@pytest.mark.parametrize(
    "change, message",
    [
        (
            dict(sum={"weight": torch.zeros(2, 2)}),
            r"sums .* shape of weight is \(2, 2\) instead of",
        ),
        (
            dict(sum={"weight": torch.zeros(3, 2)}),
            r"sums .* shape of bias is None instead of \(3,\)",
        ),
        (dict(sum=None), "sums of SWA snapshots do not fit"),
        (dict(raw={}), r"raw weights .* shape of weight is None instead of \(3, 2\)"),
        (dict(count=None), "holds no SWA state"),
        (dict(updates="4"), "holds no SWA state"),
    ],
)
def test_snapshots_that_do_not_fit_are_an_error(change, message):
    model = torch.nn.Linear(2, 3)
    state = model.state_dict()
    swa = dict(updates=4, count=1, raw=state, sum={n: w.double() for n, w in state.items()})
    runner = SimpleNamespace(_resume=True, model=model)
    SWAHook().after_load_checkpoint(runner, dict(state_dict=state, swa=swa))
    with pytest.raises(ValueError, match=message):
        SWAHook().after_load_checkpoint(runner, dict(state_dict=state, swa=swa | change))


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(sampler_seed=...), r"deterministic_resume\.sampler_seed is missing"),
        (dict(sampler_seed="1"), r"deterministic_resume\.sampler_seed is .* not what"),
        (dict(seen_batches=None), r"deterministic_resume\.seen_batches is"),
        (dict(settings=[]), r"deterministic_resume\.settings is"),
        (
            dict(gradients={"weight": torch.zeros(9)}),
            r"gradients .* weight is \(9,\) instead of \(3,",
        ),
    ],
)
def test_damaged_progress_is_an_error(change, message):
    model = torch.nn.Linear(2, 3)
    saved = dict(seen_batches=0, settings={}, sampler_seed=1, gradients={"other": None})
    runner = SimpleNamespace(_resume=True, model=model)
    hook = DeterministicResumeHook()
    hook.after_load_checkpoint(runner, {"deterministic_resume": saved})
    changed = {key: value for key, value in (saved | change).items() if value is not ...}
    with pytest.raises(ValueError, match=message):
        hook.after_load_checkpoint(runner, {"deterministic_resume": changed})
