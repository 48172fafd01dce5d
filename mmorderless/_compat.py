"""What has to be true of the host before anything else is imported."""

from importlib import import_module

INSTALL_HELP = (
    "install one family of OpenMMLab: `pip install 'mmorderless[onedl]'` (the maintained forks, "
    "tested here) or `pip install 'mmorderless[openmmlab]'` (the originals)"
)


def require_openmmlab() -> None:
    """Check that mmengine, mmcv and mmpretrain can be imported.

    Raises:
        ImportError: one of them is missing; the message names both ways to install them.
    """
    missing = []
    for name in ("mmengine", "mmcv", "mmpretrain"):
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            # A host that is there but lacks a package of its own must not be called missing.
            if error.name != name:
                raise
            missing.append(name)
    if missing:
        raise ImportError(f"mmorderless needs {', '.join(missing)}; {INSTALL_HELP}")


def attribute_of_history_buffer(owner: type, name: str) -> object:
    """Stand in for `getattr` while a checkpoint is read: a HistoryBuffer pickles its own methods.

    The real `getattr` would open every attribute of every allowed type to a crafted file.

    Raises:
        ValueError: the checkpoint asks for anything else.
    """
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or name.startswith("_"):
        raise ValueError(f"the checkpoint asks for {owner}.{name}; it was not written by mmengine")
    return getattr(owner, name)


def allow_mmengine_checkpoints() -> None:
    """Let `torch.load(weights_only=True)` read what mmengine's Runner writes.

    Since torch 2.6 that is the default, and the original mmengine (0.10.7) cannot load its own
    checkpoints: they hold HistoryBuffer objects and NumPy arrays and scalars. Naming these few
    harmless types keeps the protection against arbitrary code.
    """
    import numpy as np
    import torch
    from mmengine.logging import HistoryBuffer

    multiarray = (getattr(np, "_core", None) or np.core).multiarray
    dtypes = (np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            (attribute_of_history_buffer, "builtins.getattr"),
            np.dtype,
            np.ndarray,
            multiarray._reconstruct,
            multiarray.scalar,
            *(type(np.dtype(dtype)) for dtype in dtypes),
        ]
    )
