"""List and prepare the images that a user names: files, folders, pictures or lists of these."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose, LoadImageFromFile
from mmengine.config import Config
from mmengine.logging import print_log
from mmpretrain.registry import TRANSFORMS
from PIL import Image as Pillow
from PIL import ImageOps
from torch.utils.data import Dataset

from mmorderless.datasets.cropping import CropBox
from mmorderless.datasets.loading import LoadImage

IMAGE_EXTENSIONS = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".tif", ".tiff", ".webp"),
)
"""Of the files that OpenCV decodes, those that are photos."""

Image = str | Path | bytes | np.ndarray | torch.Tensor | Pillow.Image
Images = Image | Sequence[Image]
ListedImage = str | bytes | np.ndarray


def list_images(images: Images) -> list[ListedImage]:
    """List single images.

    Args:
        images: one of these, or a list or tuple of any of them:

            - path or address (`https://...` and others of `mmengine.fileio`) of an image;
            - a folder, searched with its subfolders and links for files with an image's extension;
              hidden files are left out, and how many others are is logged;
            - bytes of an image file;
            - a picture of Pillow;
            - an array, uint8: (H, W) gray, (H, W, 3) BGR as mmcv loads it, or (H, W, 4) BGRA;
            - a tensor, uint8: (1, H, W) gray, (3, H, W) RGB or (4, H, W) RGBA, as torchvision
              reads it.

            Transparency is ignored, as in files.

    Returns:
        Paths (those of a folder sorted, beginning with the folder as given), bytes and BGR arrays.
        A path that does not exist is kept; reading it raises.

    Raises:
        ValueError: a folder holds no image, an array or a tensor has another shape or type, or
            there is nothing at all.
        TypeError: something else is given.
    """
    listed: list[ListedImage] = []
    for image in images if isinstance(images, list | tuple) else [images]:
        if isinstance(image, bytes | bytearray | memoryview):
            listed.append(bytes(image))
        elif isinstance(image, str | os.PathLike):
            listed.extend(_files_of(image) if os.path.isdir(image) else [os.fspath(image)])
        else:
            listed.append(_bgr(image))
    if not listed:
        raise ValueError("there are no images: give files, folders or pictures")
    return listed


def _bgr(image: np.ndarray | torch.Tensor | Pillow.Image) -> np.ndarray:
    """Convert a picture in memory to an array as mmcv loads it, uint8, shape (H, W, 3)."""
    if isinstance(image, Pillow.Image) and image.mode[0] in "IF":
        image = np.asarray(image)  # of 16 or 32 bits, which Pillow would clip
    if isinstance(image, Pillow.Image):
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[..., ::-1].copy()
    if isinstance(image, torch.Tensor):
        if image.dim() != 3 or image.shape[0] not in (1, 3, 4):
            raise ValueError(
                "an image tensor must have shape (1, H, W), (3, H, W) RGB or (4, H, W) RGBA; got "
                f"{tuple(image.shape)}; permute its axes, or give several tensors as a list"
            )
        pixels = image.detach().cpu().permute(1, 2, 0).numpy()
        array = np.concatenate([pixels[..., 2::-1], pixels[..., 3:]], axis=2)
    elif isinstance(image, np.ndarray):
        array = image if image.ndim != 2 else image[..., None]
        if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
            raise ValueError(
                "an image array must have shape (H, W), (H, W, 3) BGR or (H, W, 4) BGRA; got "
                f"{image.shape}; move its axes, or give several arrays as a list"
            )
    else:
        raise TypeError(
            f"an image is a path, bytes, an array, a tensor or a picture of Pillow, got "
            f"{type(image).__name__}; convert it first"
        )
    if array.dtype != np.uint8 or array.size == 0:
        raise ValueError(
            f"an image must hold uint8 values 0 … 255, got {image.dtype} of shape "
            f"{tuple(image.shape)}; scale and convert it, as (255 * image).astype('uint8')"
        )
    if array.shape[2] == 1:
        return cv2.cvtColor(array, cv2.COLOR_GRAY2BGR)
    return array if array.shape[2] == 3 else np.ascontiguousarray(array[..., :3])


def _files_of(folder: str | os.PathLike) -> list[str]:
    """List the images below a folder, and log how many other files are passed over."""
    files, others = [], Counter[str]()
    for path in _visible_files(os.fspath(folder)):
        extension = os.path.splitext(path)[1].lower()
        if extension in IMAGE_EXTENSIONS:
            files.append(path)
        else:
            others[extension or "no extension"] += 1
    kinds = ", ".join(f"{kind}: {number}" for kind, number in others.most_common(5))
    if not files:
        raise ValueError(
            f"the folder {folder} holds no image ({', '.join(IMAGE_EXTENSIONS)})"
            f"{f' but other files ({kinds})' if others else ''}; give another folder"
        )
    if others:
        print_log(
            f"{folder}: {others.total()} files passed over, which are no images by their "
            f"extension ({kinds})",
            logger="current",
        )
    return sorted(files)


def _visible_files(folder: str) -> Iterator[str]:
    """Yield the files below a folder that are not hidden, those of a linked folder once."""
    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(folders):
            target = os.path.realpath(os.path.join(parent, name))
            if not name.startswith(".") and target not in seen:
                seen.add(target)
                kept.append(name)
        folders[:] = kept
        yield from (os.path.join(parent, name) for name in names if not name.startswith("."))


class LoadNamedImage(LoadImage):
    """`LoadImage` with remedies for an image that the user named, not an annotation file."""

    missing_remedy = "check the path"
    damaged_remedy = "copy or download it again"


class PreparedImages(Dataset):
    """Images prepared by the model's test pipeline; an unreadable image gives its error instead."""

    def __init__(self, images: list[ListedImage], load: LoadImage, prepare: Compose) -> None:
        self.images = images
        self.load = load
        self.prepare = prepare

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict | Exception:
        image = self.images[index]
        try:
            if isinstance(image, bytes):
                pixels, size = self.load.decode(image, f"number {index}")
                loaded = {"img": pixels, "img_shape": pixels.shape[:2], "ori_shape": size}
            else:
                key = "img_path" if isinstance(image, str) else "img"
                loaded = self.load({key: image})
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
