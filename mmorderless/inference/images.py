"""List and prepare the images that a user names: files, folders, arrays or lists of these."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmcv.transforms import Compose, LoadImageFromFile
from mmengine.config import Config
from mmpretrain.registry import TRANSFORMS
from torch.utils.data import Dataset

from mmorderless.datasets.cropping import CropBox
from mmorderless.datasets.loading import LoadImage

IMAGE_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

Image = str | Path | np.ndarray
Images = Image | Sequence[Image]


def list_images(images: Images) -> list[str | np.ndarray]:
    """List single images.

    Args:
        images: a path of an image; a folder, searched with its subfolders for files with an image's
            extension; an array (H, W, 3), BGR as mmcv loads it; or a sequence of these.

    Returns:
        Paths (those of a folder sorted, beginning with the folder as given) and arrays. A path that
        does not exist is kept; reading it raises.

    Raises:
        ValueError: a folder holds no image, an array has another shape, or there is nothing at all.
        TypeError: something else is given.
    """
    listed: list[str | np.ndarray] = []
    for image in images if isinstance(images, list | tuple) else [images]:
        if isinstance(image, np.ndarray):
            if image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(
                    f"an image array must have shape (H, W, 3), BGR; got {image.shape}; "
                    "give several arrays as a list"
                )
            if image.dtype != np.uint8 or image.size == 0:
                raise ValueError(
                    f"an image array must hold uint8 values 0 … 255, got {image.dtype} of shape "
                    f"{image.shape}; scale and convert it, as (255 * image).astype('uint8')"
                )
            listed.append(image)
        elif isinstance(image, str | Path):
            listed.extend(_files_of(image) if os.path.isdir(image) else [os.fspath(image)])
        else:
            raise TypeError(f"an image is a path or an array, got {type(image).__name__}")
    if not listed:
        raise ValueError("there are no images: give files, folders or arrays")
    return listed


def _files_of(folder: str | Path) -> list[str]:
    files = sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(IMAGE_EXTENSIONS)
    )
    if not files:
        raise ValueError(
            f"the folder {folder} holds no image ({', '.join(IMAGE_EXTENSIONS)}); "
            "give another folder"
        )
    return files


class LoadNamedImage(LoadImage):
    """`LoadImage` with remedies for an image that the user named, not an annotation file."""

    missing_remedy = "check the path"
    damaged_remedy = "copy or download it again"


class PreparedImages(Dataset):
    """Images prepared by the model's test pipeline; an unreadable image gives its error instead."""

    def __init__(self, images: list[str | np.ndarray], load: LoadImage, prepare: Compose) -> None:
        self.images = images
        self.load = load
        self.prepare = prepare

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict | Exception:
        image = self.images[index]
        if isinstance(image, np.ndarray):
            size = image.shape[:2]
            return self.prepare({"img": image, "img_shape": size, "ori_shape": size})
        try:
            loaded = self.load({"img_path": image})
        except (ValueError, OSError) as error:
            return error
        return self.prepare(loaded)


def inference_pipeline(cfg: Config) -> tuple[LoadImage, Compose]:
    """Split a config's test pipeline into loading an image and preparing it for the model.

    `CropBox` is left out, since no box comes with the image.

    Raises:
        ValueError: the test pipeline does not begin with loading an image from a file.
    """
    dataset = (cfg.get("test_dataloader") or {}).get("dataset", {})
    transforms = [TRANSFORMS.build(transform) for transform in dataset.get("pipeline") or []]
    if not transforms or not isinstance(transforms[0], LoadImageFromFile):
        raise ValueError(
            f"the test pipeline of the config (dataset {dataset.get('type')}) does not begin with "
            "an image file; use the config that reads images, not the one of cached features"
        )
    # The config's own loader may decode a truncated file without an error.
    load = LoadNamedImage(
        transforms[0].color_type,
        transforms[0].imdecode_backend,
        min_side=getattr(transforms[0], "min_side", None),
    )
    return load, Compose([step for step in transforms[1:] if not isinstance(step, CropBox)])
