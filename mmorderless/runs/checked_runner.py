"""A Runner whose errors name the file or the option, and whose workers end with it."""

from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from mmorderless.errors import error_line
from mmorderless.runs.workers import bind_workers


class CheckedRunner(Runner):
    """mmengine's Runner as the tools use it, unless a config sets `runner_type`."""

    @staticmethod
    def build_dataloader(*args: Any, **kwargs: Any) -> DataLoader:
        """Build a dataloader whose workers end with this process.

        Raises:
            ValueError: it has no batch.
        """
        loader = Runner.build_dataloader(*args, **kwargs)
        check_batches(loader)
        return bind_workers(loader)

    def load_or_resume(self) -> None:
        """Load or resume from `load_from`.

        Raises:
            ValueError: mmengine or a hook cannot read what the file holds.
        """
        try:
            super().load_or_resume()
            if self._resume and isinstance(self.optim_wrapper, OptimWrapper):
                check_options(self.optim_wrapper.optimizer)
        except Exception as error:  # any kind: the state is that of a foreign program
            line = error_line(error)
            if str(self._load_from) in line:
                raise
            if not isinstance(error, ValueError):
                line += "; use a checkpoint that a training of this config wrote"
            raise ValueError(f"{self._load_from}: {line}") from error


def check_options(optimizer: Optimizer) -> None:
    """Raise a ValueError if the state of another optimizer was loaded, which has other options."""
    for group in optimizer.param_groups:
        if missing := sorted(optimizer.defaults.keys() - group.keys()):
            raise ValueError(
                f"the checkpoint's optimizer has no {', '.join(missing)}: it is no "
                f"{type(optimizer).__name__}; use the config that it was trained with, or start "
                "from its weights with load_from"
            )


def check_batches(loader: DataLoader) -> None:
    """Raise a ValueError if dropping the last batch leaves none; mmengine would train for 0 steps.

    A sampler that goes on with the next pass over the data (InfiniteSampler) fills every batch.
    """
    sampler: Any = loader.sampler
    if loader.drop_last and not len(loader) and not isinstance(sampler, InfiniteSampler):
        raise ValueError(
            f"drop_last=True leaves no batch: a process has {len(sampler)} images, fewer "
            f"than batch_size={loader.batch_size}; set train_dataloader.drop_last=False or a "
            "smaller train_dataloader.batch_size"
        )
