"""Check and repair the installed OpenMMLab packages before anything else is imported."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

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
            # An installed host that lacks one of its own dependencies is not missing itself.
            if error.name != name:
                raise
            missing.append(name)
    if missing:
        raise ImportError(f"mmorderless needs {', '.join(missing)}; {INSTALL_HELP}")


def disable_multimodal_models() -> None:
    """Keep mmpretrain from importing its multimodal models when transformers 5 is installed.

    With pycocotools and any transformers from 4.28 on, mmpretrain (1.2.0, and 1.3.6 of the OneDL
    fork) imports them, but they use names that transformers 5 removed: `import mmpretrain.models`
    fails with "NoneType takes no arguments". Without this flag mmpretrain registers placeholders
    that ask for the packages only when they are built.
    """
    try:
        major = int(version("transformers").partition(".")[0])
    except PackageNotFoundError:
        return
    if major >= 5:
        from mmpretrain.utils import dependency

        dependency.WITH_MULTIMODAL = False


def attribute_of_history_buffer(owner: type, name: str) -> object:
    """Replace `getattr` while a checkpoint is read, since a HistoryBuffer pickles its methods.

    The real `getattr` would give a crafted file every attribute of every allowed type.

    Raises:
        ValueError: the checkpoint asks for something else than a method of HistoryBuffer.
    """
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or name.startswith("_"):
        raise ValueError(f"the checkpoint asks for {owner}.{name}; it was not written by mmengine")
    return getattr(owner, name)


def allow_mmengine_checkpoints() -> None:
    """Let `torch.load(weights_only=True)` read what mmengine's Runner writes.

    This is the default since torch 2.6, and the original mmengine (0.10.7) cannot load its own
    checkpoints: they hold HistoryBuffer objects and NumPy arrays and scalars. Allowing these few
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
