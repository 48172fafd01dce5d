"""Random numbers of losses, reproducible in a resumed run."""

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor


class RandomDraws:
    """Mixin of losses that draw random numbers from a generator of their own.

    Hooks restart the generator from the seed, the process rank and the progress of training:
    `TrainingContextHook` at each epoch, `DeterministicResumeHook` at each iteration. Without them
    it starts from PyTorch's seed and the process rank.
    """

    _seed: int | None = None
    _generator: torch.Generator | None = None

    def reseed(self, seed: int, rank: int, epoch: int, iteration: int = 0) -> None:
        """Restart the generator from the seed, the process rank and the progress of training."""
        sequence = np.random.SeedSequence([seed, rank, epoch, iteration])
        state = sequence.generate_state(1, np.uint64)
        self._seed = int(state[0] >> np.uint64(1))
        self._generator = None

    def generator_on(self, device: torch.device) -> torch.Generator:
        """Return the generator on a device; a change of device restarts it."""
        if self._seed is None:
            is_distributed = dist.is_available() and dist.is_initialized()
            self.reseed(torch.initial_seed(), dist.get_rank() if is_distributed else 0, 0)
            assert self._seed is not None
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self._seed)
        return self._generator


def sample_tokens(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a token per row from the softmax of its logits, without synchronizing with the device.

    The arg max of logits plus Gumbel noise is distributed as their softmax (`torch.multinomial`
    would copy the probabilities to the host to check them).

    Args:
        logits: shape (R, K); −∞ is never drawn, unless the whole row is −∞.
        generator: a generator on the device of the logits.

    Returns:
        Tokens, shape (R,).
    """
    waiting_time = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
    waiting_time.exponential_(generator=generator)  # −log of it is Gumbel noise
    smallest = torch.finfo(torch.float32).tiny  # log 0 would be infinite
    return (logits.float() - waiting_time.clamp_(min=smallest).log_()).argmax(1)
