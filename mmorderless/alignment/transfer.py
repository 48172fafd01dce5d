"""The only two doors of the alignment between the device and the host.

Every copy waits for the device, so alignment is written to need one each way a batch. All copies
of the alignment go through these helpers, which makes them easy to find and to count.
"""

import numpy as np
import torch
from torch import Tensor


def to_host(tensor: Tensor) -> np.ndarray:
    """Copy a tensor to the host, waiting for the device."""
    return tensor.detach().cpu().numpy()


def to_device(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Copy an array or a tensor to a device; to CUDA from pinned memory, without waiting."""
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _copy_at_once(parts: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Copy tensors (B, …) to the host together; floats as float32, the others as int64."""
    bits = [
        part.float().view(torch.int32) if part.is_floating_point() else part.int()
        for part in parts.values()
    ]
    host = to_host(torch.cat(bits, 1))
    ends = np.cumsum([part.shape[1] for part in bits])
    pieces = np.split(host, ends[:-1], axis=1)
    return {
        name: piece.view(np.float32) if part.is_floating_point() else piece.astype(np.int64)
        for (name, part), piece in zip(parts.items(), pieces)
    }
