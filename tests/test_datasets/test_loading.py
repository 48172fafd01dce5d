import json
import struct
import zlib
from io import BytesIO

import cv2
import mmcv
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from mmorderless.datasets import loading
from mmorderless.datasets.image_headers import MAX_SAMPLE_VALUE
from mmorderless.datasets.json_labels import JsonMultiLabel
from mmorderless.datasets.loading import LoadImage


@pytest.fixture
def folder(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    for name in ("a.jpg", "a.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "header.jpg").write_bytes(content[:30])
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "half.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_bytes(b"<html>Not found</html>")
    return tmp_path


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize(
    "options",
    [{}, {"color_type": "grayscale"}, {"imdecode_backend": "pillow"}],
)
def test_same_result_as_mmcv(folder, name, options):
    ours = LoadImage(**options, backend_args={"backend": "local"})({"img_path": str(folder / name)})
    theirs = LoadImageFromFile(**options)({"img_path": str(folder / name)})
    np.testing.assert_array_equal(ours.pop("img"), theirs.pop("img"))
    assert ours == theirs


@pytest.mark.parametrize("options", [{}, {"imdecode_backend": "pillow"}, {"min_side": 4}])
@pytest.mark.parametrize("name", ["half.jpg", "half.png", "empty.jpg", "text.jpg", "header.jpg"])
def test_a_damaged_image_is_an_error_or_skipped(folder, name, options):
    with pytest.raises(ValueError, match="truncated or not an image; copy or download") as error:
        LoadImage(**options)({"img_path": str(folder / name)})
    assert str(folder / name) in str(error.value)
    assert "\n" not in str(error.value)
    assert LoadImage(**options, ignore_empty=True)({"img_path": str(folder / name)}) is None


def test_a_truncated_image_is_an_error_even_if_the_decoder_fills_it_up(folder, monkeypatch):
    gray = np.full((40, 30, 3), 128, np.uint8)
    monkeypatch.setattr(mmcv, "imfrombytes", lambda *args, **kwargs: gray)  # as OpenCV 4 does
    with pytest.raises(ValueError, match="truncated"):
        LoadImage()({"img_path": str(folder / "half.jpg")})


def test_missing_image_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"b\.jpg does not exist; check data_root"):
        LoadImage()({"img_path": str(folder / "b.jpg")})


def dataset(folder, names, **load):
    annotation = {
        "metainfo": {"classes": ["x"]},
        "data_list": [{"img_path": name, "gt_label": [0]} for name in names],
    }
    (folder / "train.json").write_text(json.dumps(annotation))
    return JsonMultiLabel("train.json", data_root=str(folder), pipeline=[LoadImage(**load)])


@pytest.mark.parametrize("name", ["b.jpg", "half.jpg"])
def test_training_stops_at_a_bad_image(folder, name):
    with pytest.raises((FileNotFoundError, ValueError), match=name):
        dataset(folder, [name])[0]


def test_training_skips_a_bad_image_on_request(folder):
    data = dataset(folder, ["b.jpg", "half.jpg", "a.jpg"], ignore_empty=True)
    for index in range(3):
        assert data[index]["img_path"].endswith("a.jpg")


def photo(height, width):
    """Smooth shapes and edges, as photos have them."""
    y, x = np.mgrid[:height, :width] / 40
    waves = np.stack([np.sin(x + y), np.cos(x - 2 * y), np.sin(3 * x)], axis=2)
    pixels = (128 + 80 * waves).astype(np.uint8)
    cv2.circle(pixels, (width // 3, height // 2), height // 4, (30, 200, 90), -1)
    return pixels


def save(path, pixels, orientation=None, **options):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **options)
    return {"img_path": str(path)}


@pytest.mark.parametrize("min_side, divisor", [(1, 8), (60, 4), (100, 2), (120, 2), (121, 1)])
@pytest.mark.parametrize("color_type", ["color", "grayscale"])
def test_smallest_size_that_is_enough(tmp_path, min_side, divisor, color_type):
    results = save(tmp_path / "a.jpg", photo(240, 323), quality=95)
    full = LoadImage(color_type)(dict(results))
    small = LoadImage(color_type, min_side=min_side)(dict(results))
    assert small["img_shape"] == small["img"].shape[:2] == (240 // divisor, -(-323 // divisor))
    assert small["ori_shape"] == full["ori_shape"] == (240, 323)
    # A pixel is the mean of those that it stands for.
    whole = (slice(None), slice(320 // divisor))
    averaged = cv2.resize(
        full["img"][:, :320], (320 // divisor, 240 // divisor), interpolation=cv2.INTER_AREA
    )
    difference = np.abs(small["img"][whole].astype(int) - averaged)
    assert difference.mean() < 1.5
    if divisor == 1:
        assert not difference.any()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_images_are_turned_as_full_ones(tmp_path, orientation):
    results = save(tmp_path / "a.jpg", photo(160, 240), orientation, quality=95)
    full = LoadImage()(dict(results))
    small = LoadImage(min_side=80)(dict(results))
    turned = (240, 160) if orientation > 4 else (160, 240)
    assert small["ori_shape"] == full["ori_shape"] == turned
    assert small["img_shape"] == (turned[0] // 2, turned[1] // 2)
    averaged = cv2.resize(full["img"], small["img_shape"][::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small["img"].astype(int) - averaged).mean() < 1.5
    stored = LoadImage("color_ignore_orientation", min_side=80)(dict(results))
    assert stored["img_shape"] == (80, 120)
    assert stored["ori_shape"] == (160, 240)


@pytest.mark.parametrize(
    "name, pixels",
    [
        ("a.png", photo(100, 100)),
        ("a.bmp", photo(100, 100)),
        ("tiny.jpg", photo(7, 5)),
        ("dot.jpg", photo(1, 1)),
        ("narrow.jpg", photo(400, 9)),
    ],
)
def test_what_cannot_be_reduced_is_decoded_in_full(tmp_path, name, pixels):
    results = save(tmp_path / name, pixels)
    full, small = LoadImage()(dict(results)), LoadImage(min_side=10)(dict(results))
    np.testing.assert_array_equal(small.pop("img"), full.pop("img"))
    assert small == full


def test_grayscale_jpegs_are_reduced_too(tmp_path):
    results = save(tmp_path / "a.jpg", photo(80, 80)[..., 0])
    assert LoadImage(min_side=20)(dict(results))["img"].shape == (20, 20, 3)
    assert LoadImage("grayscale", min_side=20)(dict(results))["img"].shape == (20, 20)


def test_boxes_need_the_full_picture(folder):
    with pytest.raises(ValueError, match=r"a\.jpg has a box in pixels .* remove min_side"):
        LoadImage(min_side=8)({"img_path": str(folder / "a.jpg"), "box": (0, 0, 4, 4)})


@pytest.mark.parametrize(
    "options", [{"imdecode_backend": "pillow"}, {"color_type": "unchanged"}, {"min_side": 0}]
)
def test_min_side_fits_the_other_options(options):
    with pytest.raises(ValueError, match="min_side"):
        LoadImage(**{"min_side": 8, **options})


def test_every_real_photo_is_complete(shared_data):
    photos = sorted((shared_data / "coco_sub" / "images").iterdir())[:100]
    for photo in photos:
        img = LoadImage()({"img_path": str(photo)})["img"]
        np.testing.assert_array_equal(
            img, cv2.imdecode(np.frombuffer(photo.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        )


def chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def png_header(height: int, width: int) -> bytes:
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + bytes([8, 0, 0, 0, 0]))


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_an_image_of_too_many_pixels_is_not_decoded(folder, monkeypatch, suffix, backend):
    """The file is cut after its header, as a bomb or a broken download."""
    path = folder / f"huge{suffix}"
    content = bytearray((folder / "a.jpg").read_bytes())
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = (20_000).to_bytes(2, "big") + (12_000).to_bytes(2, "big")
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    huge = {".png": png_header(25_000, 25_000) + pixels, ".jpg": content[:-50]}
    path.write_bytes(huge[suffix])
    monkeypatch.setattr(mmcv, "imfrombytes", lambda *args, **kwargs: pytest.fail("decoded"))
    with pytest.raises(ValueError, match=r"more than 178,956,970 pixels.* scale it down") as error:
        LoadImage(imdecode_backend=backend)({"img_path": str(path)})
    assert str(path) in str(error.value)
    assert LoadImage(ignore_empty=True)({"img_path": str(path)}) is None


@pytest.fixture
def notes(monkeypatch):
    lines = []
    monkeypatch.setattr(loading, "print_log", lambda line, **_: lines.append(line))
    monkeypatch.setattr(LoadImage, "_warned_of_depth", False)
    return lines


RAMP = np.linspace(0, 4095, 64 * 48).round().astype(np.uint16).reshape(48, 64)  # 12 bits


def deep_png(bits: bytes | None, pixels: np.ndarray = RAMP) -> bytes:
    content = cv2.imencode(".png", pixels)[1].tobytes()
    end = len(png_header(1, 1))
    return content[:end] + (b"" if bits is None else chunk(b"sBIT", bits)) + content[end:]


def deep_tiff(maximum: int = 4095, pixels: np.ndarray = RAMP) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", tiffinfo={MAX_SAMPLE_VALUE: maximum})
    return file.getvalue()


OPAQUE = np.dstack([RAMP, RAMP, RAMP, np.full_like(RAMP, 65535)])


@pytest.mark.parametrize(
    "content",
    [
        deep_png(b"\x0c"),
        deep_png(b"\x0c\x0c\x0c\x10", OPAQUE),
        deep_tiff(),
        b"P5\n# 12 bits\n64 48\n4095\n" + RAMP.byteswap().tobytes(),
    ],
)
@pytest.mark.parametrize("color_type, shape", [("color", (48, 64, 3)), ("grayscale", (48, 64))])
def test_twelve_bits_are_scaled_if_the_header_says_so(tmp_path, notes, content, color_type, shape):
    (tmp_path / "a").write_bytes(content)
    img = LoadImage(color_type)({"img_path": str(tmp_path / "a")})["img"]
    assert (img.shape, img.dtype) == (shape, np.uint8)
    expected = (RAMP * (255 / 4095)).astype(np.uint8).reshape(48, 64, *[1] * (len(shape) - 2))
    np.testing.assert_array_equal(img, np.broadcast_to(expected, shape))
    assert not notes


def test_twelve_bits_without_a_word_are_reported_once(tmp_path, notes):
    path = tmp_path / "a.png"
    path.write_bytes(deep_png(None))
    for _ in range(2):
        img = LoadImage("grayscale")({"img_path": str(path)})["img"]
    np.testing.assert_array_equal(img, RAMP >> 8)
    (note,) = notes
    assert f"{path} has 16 bits per sample but no value above 4095" in note


@pytest.mark.parametrize("content", [deep_png(b""), deep_png(b"\0"), deep_png(b"\xff")])
def test_a_damaged_number_of_bits_counts_as_none(tmp_path, notes, content):
    (tmp_path / "a.png").write_bytes(content)
    img = LoadImage("grayscale")({"img_path": str(tmp_path / "a.png")})["img"]
    np.testing.assert_array_equal(img, RAMP >> 8)
    assert len(notes) == 1


def test_packed_samples_of_twelve_bits_are_read(tmp_path, notes):
    """OpenCV cannot convert such a TIFF to 8 bits itself."""
    first, second = RAMP.reshape(-1, 2).astype(int).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1)
    pixels = packed.astype(np.uint8).tobytes()
    tags = {256: 64, 257: 48, 258: 12, 259: 1, 262: 1, 273: 122, 277: 1, 278: 48, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    header = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    (tmp_path / "a.tif").write_bytes(header + pixels)
    img = LoadImage("grayscale")({"img_path": str(tmp_path / "a.tif")})["img"]
    np.testing.assert_array_equal(img, RAMP >> 4)


def test_dark_images_stay_dark(tmp_path, notes):
    for name, dtype in (("a.png", np.uint8), ("b.png", np.uint16)):
        cv2.imwrite(str(tmp_path / name), np.full((4, 4), 0, dtype))
        assert not LoadImage()({"img_path": str(tmp_path / name)})["img"].any()
    for content in (deep_png(b"\0", RAMP * 0), deep_tiff(0, RAMP * 0)):
        (tmp_path / "black").write_bytes(content)
        assert not LoadImage()({"img_path": str(tmp_path / "black")})["img"].any()
    cv2.imwrite(str(tmp_path / "c.png"), RAMP * 16)
    img = LoadImage("grayscale")({"img_path": str(tmp_path / "c.png")})["img"]
    np.testing.assert_array_equal(img, RAMP >> 4)
    assert not notes


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    for path in (str(tmp_path), "a\0b.jpg", "nowhere://a.jpg"):
        with pytest.raises(OSError, match=r"cannot be read: .*; check data_root") as error:
            LoadImage()({"img_path": path})
        assert repr(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_loaded_image_is_passed_on():
    """The inferencers of mmpretrain load images themselves and remove only LoadImageFromFile."""
    img = np.zeros((4, 6, 3), np.uint8)
    results = LoadImage()({"img": img})
    assert results["img"] is img
    assert results["img_shape"] == results["ori_shape"] == (4, 6)
    assert LoadImage()({"img": img, "ori_shape": (8, 12)})["ori_shape"] == (8, 12)
