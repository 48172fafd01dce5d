"""Read a backbone's features as a grid of cells (B, L, D), or as a map (B, D, h, w)."""

from collections.abc import Sequence

from torch import Tensor

Features = Tensor | Sequence[Tensor]
"""A map (B, D, h, w) or tokens (B, L, D), or a sequence of these of which the last counts."""

REMEDY = (
    "keep the backbone's map: neck=None; ConvNeXt gap_before_final_norm=False; VGG num_classes=-1; "
    "ViT out_type='featmap'"
)


def as_grid(
    feats: Features, in_channels: int, drop_class_token: bool = False
) -> tuple[Tensor, tuple[int, ...]]:
    """Flatten a feature map or tokens into cells.

    Args:
        feats: a map (B, D, h, w) or tokens (B, L, D); of a tuple of stages, the last is taken.
        in_channels: D, what the decoder was built for.
        drop_class_token: whether the first token is a class token, which is not a cell.

    Returns:
        The cells, shape (B, L, D), and their layout, (h, w) or (L,).

    Raises:
        ValueError: the features are pooled, or their channels are not `in_channels`.
    """
    if not isinstance(feats, Tensor):
        feats = feats[-1] if len(feats) > 0 else feats
    if isinstance(feats, Tensor) and feats.dim() == 4:
        layout: tuple[int, ...] = (feats.shape[2], feats.shape[3])
        grid = feats.flatten(2).transpose(1, 2)  # (B, L, D)
        if drop_class_token:
            raise ValueError(
                f"drop_class_token=True needs tokens (B, L, D), got a map {tuple(feats.shape)}; "
                "set drop_class_token=False"
            )
    elif isinstance(feats, Tensor) and feats.dim() == 3:
        grid = feats[:, 1:] if drop_class_token else feats
        layout = (grid.shape[1],)
    else:
        shape = tuple(feats.shape) if isinstance(feats, Tensor) else type(feats).__name__
        raise ValueError(
            f"the head needs a map (B, D, h, w) or tokens (B, L, D), got {shape}; {REMEDY} or 'raw'"
        )
    if grid.shape[2] != in_channels:
        raise ValueError(
            f"the backbone gives {grid.shape[2]} channels (features {tuple(feats.shape)}), the "
            f"head expects in_channels={in_channels}; set in_channels={grid.shape[2]}"
        )
    if grid.shape[1] == 0:
        raise ValueError(f"the features {tuple(feats.shape)} have no cell; use larger images")
    return grid, layout


def as_map(feats: Features, in_channels: int, stage: int = -1) -> Tensor:
    """Return the map of a stage, shape (B, D, h, w).

    Args:
        feats: a map, or a tuple of the maps of several stages.
        in_channels: D, what the head was built for.
        stage: index of the stage, counted from the last, −1.

    Raises:
        ValueError: there is no such stage, its features are no map, or its channels are not
            `in_channels`.
    """
    stages = [feats] if isinstance(feats, Tensor) else feats
    if len(stages) < -stage:
        raise ValueError(
            f"the head reads the last {-stage} maps of the backbone, which gives {len(stages)}; "
            "name their stages in the backbone's out_indices"
        )
    found = stages[stage]
    if not isinstance(found, Tensor) or found.dim() != 4:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"the head needs a map (B, D, h, w), got {shape}; {REMEDY}")
    if found.shape[1] != in_channels:
        raise ValueError(
            f"stage {stage} of the backbone gives a map of {found.shape[1]} channels, the head was "
            f"built for {in_channels}; set that number of channels to {found.shape[1]}"
        )
    return found
