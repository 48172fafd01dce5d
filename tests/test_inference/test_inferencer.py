"""The inferencer returns the model's predictions for each image."""

from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from PIL import Image

from mmorderless.inference.inferencer import OrderlessInferencer

CLASSES = ("ant", "bee", "cat", "dog")
SIZE = 64


def config(head: dict, **model) -> Config:
    pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="Resize", scale=(SIZE, SIZE)),
        dict(type="PackInputs"),
    ]
    dataset = dict(type="JsonMultiLabel", ann_file="unused.json", pipeline=pipeline)
    backbone = dict(type="ResNet", depth=18, base_channels=4, stem_channels=4, out_indices=(2,))
    normalize = dict(mean=[127.0] * 3, std=[128.0] * 3, to_rgb=True)
    return Config(
        dict(
            model=dict(type="ImageClassifier", backbone=backbone, head=head, **model),
            data_preprocessor=normalize,
            test_dataloader=dict(batch_size=2, dataset=dataset),
        )
    )


def orderless_config(loss=None, **decoder) -> Config:
    sizes = dict(hidden_size=8, embed_size=4, attention_size=8)
    return config(
        dict(
            type="OrderlessRNNHead",
            num_classes=4,
            in_channels=16,
            max_steps=5,
            decoder=dict(type="AttentionLSTM", **{**sizes, **decoder}),
            loss=loss or dict(type="PLALoss"),
        )
    )


def bce_config() -> Config:
    head = dict(type="MultiLabelLinearClsHead", num_classes=4, in_channels=16)
    return config(head, neck=dict(type="GlobalAveragePooling"))


def save(cfg: Config, file, classes=CLASSES) -> str:
    """Save weights that make the model emit different sets for different images."""
    model = MODELS.build(cfg.model)
    for parameter in model.head.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.7)
    if hasattr(model.head, "decoder"):
        model.head.decoder.classifier.bias.data[-1] = -2  # END comes late: labels repeat
    meta = {"dataset_meta": {"classes": classes}} if classes else {}
    torch.save({"meta": meta, "state_dict": model.state_dict()}, file)
    return str(file)


@pytest.fixture
def images(tmp_path) -> list[str]:
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    paths = []
    for i in range(5):
        image = (rng.integers(0, 256, 3) + rng.integers(0, 40, (30 + i, 50, 3))).clip(0, 255)
        paths.append(str(tmp_path / "photos" / f"{i}.png"))
        cv2.imwrite(paths[-1], image.astype(np.uint8))
    return paths


@pytest.fixture
def inferencer(tmp_path) -> OrderlessInferencer:
    cfg = orderless_config()
    return OrderlessInferencer(cfg, save(cfg, tmp_path / "a.pth"), device="cpu", batch_size=2)


def assert_same(results: list[dict], expected: list[dict], names: bool = True) -> None:
    """Compare results up to rounding, which depends on the batch size."""
    assert len(results) == len(expected)
    for one, other in zip(results, expected):
        assert not names or one["image"] == other["image"]
        assert one["sequence"] == other["sequence"]
        for field in ("probabilities", "sequence_probabilities", "scores"):
            assert one[field] == pytest.approx(other[field], abs=1e-5)


def test_results_are_the_models_predictions(inferencer, images):
    results = inferencer(images, progress=False)
    for path, result in zip(images, results):
        image = cv2.resize(cv2.imread(path), (SIZE, SIZE))[..., ::-1].astype(np.float32)
        inputs = torch.from_numpy((image - 127) / 128).permute(2, 0, 1)[None]
        with torch.no_grad():
            sample = inferencer.model(inputs, mode="predict")[0]
        assert result["image"] == path
        assert result["labels"] == sample.pred_label.tolist()
        assert result["sequence"] == sample.sequence.tolist()
        assert result["scores"] == pytest.approx(sample.pred_score.tolist(), abs=1e-5)


def test_fields_of_a_result_agree(inferencer, images):
    results = inferencer(images, progress=False)
    assert any(len(set(result["sequence"])) < len(result["sequence"]) for result in results)
    for result in results:
        # Distinct labels in the order of emission, each with the probability of its first step.
        assert result["labels"] == list(dict.fromkeys(result["sequence"]))
        assert result["names"] == [CLASSES[label] for label in result["labels"]]
        first = [result["sequence"].index(label) for label in result["labels"]]
        assert result["probabilities"] == [result["sequence_probabilities"][t] for t in first]
        assert len(result["scores"]) == 4
        assert "attention" not in result


def test_folder_list_array_batches_and_workers_give_the_same(inferencer, images, tmp_path):
    results = inferencer(images, progress=False)
    assert_same(inferencer(str(tmp_path / "photos"), progress=False), results)
    assert_same(inferencer(images[0], progress=False), results[:1])
    arrays = inferencer([cv2.imread(path) for path in images], progress=False)
    assert [result["image"] for result in arrays] == [0, 1, 2, 3, 4]
    assert_same(arrays, results, names=False)
    inferencer.batch_size, inferencer.num_workers = 5, 2
    assert_same(inferencer(images, progress=False), results)


def test_pictures_of_any_kind_give_the_same(inferencer, images):
    bgr = [cv2.imread(path) for path in images[:4]]
    rgb = [picture[..., ::-1].copy() for picture in bgr]
    kinds = [
        cv2.imencode(".png", bgr[0])[1].tobytes(),
        Image.fromarray(rgb[1]),
        torch.from_numpy(rgb[2]).permute(2, 0, 1),
        np.dstack([bgr[3], bgr[3][..., 0]]),
        images[4],
        b"no image",
    ]
    *results, bad = inferencer(kinds, progress=False, skip_unreadable=True)
    assert [result["image"] for result in results] == [0, 1, 2, 3, images[4]]
    assert_same(results, inferencer(images, progress=False), names=False)
    assert bad["image"] == 5
    assert bad["error"].startswith("image number 5 (8 bytes) is truncated or not an image; copy")


def test_an_image_behind_an_address(inferencer, images, tmp_path):
    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}"
        paths = [f"{address}/{Path(images[0]).relative_to(tmp_path)}", f"{address}/gone.png"]
        results = inferencer(paths, progress=False, skip_unreadable=True)
        server.shutdown()
    assert [result["image"] for result in results] == paths
    assert_same(results[:1], inferencer(images[0], progress=False), names=False)
    assert results[1]["error"].startswith(f"image {paths[1]!r} cannot be read: HTTP Error 404")
    assert results[1]["error"].endswith("; check the path")


def test_an_image_of_too_many_pixels_does_not_end_the_others(inferencer, images, tmp_path):
    huge = tmp_path / "huge.bmp"
    cv2.imwrite(str(huge), np.zeros((2, 2, 3), np.uint8))
    content = huge.read_bytes()
    huge.write_bytes(content[:18] + (10**8).to_bytes(4, "little") + content[22:])  # its width
    results = inferencer([str(huge), images[0]], progress=False, skip_unreadable=True)
    assert f"image {huge} (70 bytes) has more than 178,956,970 pixels" in results[0]["error"]
    assert results[0]["error"].endswith("scale it down, or copy or download it again")
    assert "names" in results[1]


def test_attention_on_request(inferencer, images):
    results = inferencer(images[:2], return_attention=True, progress=False)
    for result in results:
        assert result["attention"].shape == (len(result["sequence"]), 4, 4)
        np.testing.assert_allclose(result["attention"].sum((1, 2)), 1, atol=1e-5)
    assert inferencer.model.head.return_attention is False


def test_progress_is_shown(inferencer, images, capsys):
    inferencer(images)
    assert "100%" in capsys.readouterr().out


def test_attention_of_a_model_without_attention_is_an_error(tmp_path, images):
    for cfg in (bce_config(), orderless_config(attention_size=None)):
        inferencer = OrderlessInferencer(cfg, save(cfg, tmp_path / "b.pth"), device="cpu")
        with pytest.raises(ValueError, match="attention"):
            inferencer(images, return_attention=True, progress=False)


def test_bce_model_has_labels_and_scores_but_no_sequence(tmp_path, images):
    cfg = bce_config()
    results = OrderlessInferencer(cfg, save(cfg, tmp_path / "b.pth"), device="cpu")(
        images, progress=False
    )
    assert any(result["labels"] for result in results)
    for result in results:
        above = [label for label, score in enumerate(result["scores"]) if score >= 0.5]
        assert result["labels"] == above
        assert result["probabilities"] == [result["scores"][label] for label in above]
        assert result["sequence"] is None
        assert result["sequence_probabilities"] is None


def test_unreadable_images_are_errors_that_name_the_file(inferencer, images, tmp_path):
    cv2.imwrite(str(tmp_path / "cut.jpg"), cv2.imread(images[0]))
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-300])
    (tmp_path / "text.png").write_text("no image")
    bad = {
        str(tmp_path / "gone.png"): FileNotFoundError,
        str(tmp_path / "cut.jpg"): ValueError,
        str(tmp_path / "text.png"): ValueError,
    }
    for path, error in bad.items():
        with pytest.raises(error, match=path) as raised:
            inferencer([images[0], path], progress=False)
        assert "\n" not in str(raised.value)
    mixed = [images[0], *bad, images[1]]
    results = inferencer(mixed, progress=False, skip_unreadable=True)
    assert [result["image"] for result in results] == mixed
    assert all(path in result["error"] for path, result in zip(bad, results[1:4]))
    assert_same([results[0], results[4]], inferencer(images[:2], progress=False))


def test_images_that_a_user_names_have_no_annotation_file(inferencer, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"broken")
    paths = [str(tmp_path / "missing.png"), str(tmp_path / "broken.png")]
    missing, broken = inferencer(paths, progress=False, skip_unreadable=True)
    assert missing["error"].endswith("missing.png does not exist; check the path")
    assert broken["error"].endswith("is truncated or not an image; copy or download it again")


def test_error_starts_on_a_new_line(inferencer, images, capsys):
    inferencer.batch_size = 1
    with pytest.raises(FileNotFoundError, match="check the path"):
        inferencer([images[0], "missing.png"])
    out = capsys.readouterr().out
    assert " 50%" in out
    assert out.endswith("\n")


def test_built_model_needs_its_config(images, tmp_path):
    cfg = orderless_config()
    weights = save(cfg, tmp_path / "a.pth")
    expected = OrderlessInferencer(cfg, weights, device="cpu")(images, progress=False)
    model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})
    with pytest.raises(ValueError, match="the model has no `_config`"):
        OrderlessInferencer(model, weights)
    model._config = cfg
    assert_same(OrderlessInferencer(model, weights, device="cpu")(images, progress=False), expected)
    # The model has its weights; only the class names are missing.
    with pytest.raises(ValueError, match="does not name its classes"):
        OrderlessInferencer(model)
    inferencer = OrderlessInferencer(model, classes=CLASSES, device="cpu")
    assert_same(inferencer(images, progress=False), expected)


def test_a_configs_method_is_applied(images, tmp_path):
    cfg = orderless_config(dict(type="PLALoss"), attention_size=None)
    weights = save(cfg, tmp_path / "pla_no_attention.pth")
    by_method = orderless_config()
    by_method.method = "pla_no_attention"
    results = [OrderlessInferencer(c, weights)(images) for c in (cfg, by_method)]
    assert [r["sequence"] for r in results[0]] == [r["sequence"] for r in results[1]]
    assert by_method.method == "pla_no_attention"  # the caller's config is unchanged
    model = MODELS.build(by_method.model)
    model._config = by_method
    with pytest.raises(ValueError, match="method='pla_no_attention' was not applied"):
        OrderlessInferencer(model)


def test_missing_weights_or_class_names_are_errors(tmp_path, images):
    cfg = orderless_config()
    with pytest.raises(ValueError, match="random weights"):
        OrderlessInferencer(cfg)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        OrderlessInferencer(cfg, tmp_path / "gone.pth")
    with pytest.raises(FileNotFoundError, match="there is no config"):
        OrderlessInferencer(tmp_path / "gone.py", tmp_path / "gone.pth")
    nameless = save(cfg, tmp_path / "nameless.pth", classes=None)
    with pytest.raises(ValueError, match=r"does not name its classes.*classes=\[\.\.\.\]"):
        OrderlessInferencer(cfg, nameless)
    few = OrderlessInferencer(cfg, nameless, classes=["ant"], device="cpu")
    with pytest.raises(ValueError, match="has 4 classes but 1 class names"):
        few(images, progress=False)


def test_weights_of_another_model_are_an_error(tmp_path):
    bce = save(bce_config(), tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"the checkpoint lacks .* would stay random"):
        OrderlessInferencer(orderless_config(), bce)


def test_config_of_cached_features_cannot_read_images(tmp_path):
    cfg = orderless_config()
    weights = save(cfg, tmp_path / "a.pth")
    cfg.test_dataloader.dataset = dict(type="CachedFeatures", cache="c", split="val")
    with pytest.raises(ValueError, match=r"\(dataset CachedFeatures\) does not begin with"):
        OrderlessInferencer(cfg, weights)


def test_images_in_a_batch_do_not_affect_each_other(tmp_path):
    """Without a Resize mmpretrain would pad all to the largest."""
    cfg = orderless_config()
    pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.test_dataloader.dataset.pipeline = [t for t in pipeline if t["type"] != "Resize"]
    inferencer = OrderlessInferencer(cfg, save(cfg, tmp_path / "w.pth"), batch_size=4)
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 256, (s, s, 3), dtype=np.uint8) for s in (32, 64, 96)]
    together = inferencer(arrays, progress=False)
    alone = [inferencer(array, progress=False)[0] for array in arrays]
    assert [r["scores"] for r in together] == [r["scores"] for r in alone]


def test_crop_box_is_not_applied(inferencer, images, tmp_path):
    """A pipeline for persons in photos crops by boxes, which the user's images do not have."""
    cfg = orderless_config()
    cfg.test_dataloader.dataset.pipeline.insert(1, dict(type="CropBox"))
    cropping = OrderlessInferencer(cfg, tmp_path / "a.pth", device="cpu", batch_size=2)
    assert_same(cropping(images, progress=False), inferencer(images, progress=False))


def test_weights_that_are_not_finite_are_an_error(tmp_path):
    cfg = orderless_config()
    file = save(cfg, tmp_path / "w.pth")
    checkpoint = torch.load(file, weights_only=False)
    checkpoint["state_dict"]["head.decoder.classifier.bias"][0] = float("nan")
    torch.save(checkpoint, file)
    with pytest.raises(ValueError, match="scores are not finite"):
        OrderlessInferencer(cfg, file)(np.zeros((8, 8, 3), np.uint8), progress=False)


def test_missing_device_is_a_one_line_error(tmp_path):
    cfg = orderless_config()
    with pytest.raises(ValueError, match="cannot use the device cuda: ") as error:
        OrderlessInferencer(cfg, save(cfg, tmp_path / "w.pth"), device="cuda")
    assert "\n" not in str(error.value)


def test_photos_are_decoded_at_the_size_in_the_config(tmp_path):
    cfg = orderless_config()
    cfg.test_dataloader.dataset.pipeline[0] = dict(type="LoadImage", min_side=SIZE)
    inferencer = OrderlessInferencer(cfg, save(cfg, tmp_path / "w.pth"), device="cpu")
    path = str(tmp_path / "large.jpg")
    pixels = np.random.default_rng(0).integers(0, 256, (4 * SIZE, 5 * SIZE, 3), dtype=np.uint8)
    cv2.imwrite(path, pixels)
    quarter = cv2.imread(path, cv2.IMREAD_REDUCED_COLOR_4)
    assert_same(inferencer(path, progress=False), inferencer(quarter, progress=False), names=False)


@pytest.mark.parametrize("kind", [orderless_config, bce_config])
def test_known_labels_lead_and_excluded_ones_are_missing(tmp_path, images, kind):
    cfg = kind()
    inferencer = OrderlessInferencer(cfg, save(cfg, tmp_path / "k.pth"), device="cpu", batch_size=2)
    plain = inferencer(images, progress=False)
    excluded = plain[0]["names"][0]
    given = [name for name in CLASSES if name not in plain[0]["names"]][:1] or [CLASSES[-1]]
    for_all = inferencer(images, progress=False, given=given, excluded=[excluded])
    for result in for_all:
        assert result["names"][0] == given[0]
        assert result["probabilities"][0] == 1
        assert excluded not in result["names"]
        assert (result["given"], result["excluded"]) == (
            [CLASSES.index(given[0])],
            [CLASSES.index(excluded)],
        )
        assert [result["scores"][c] for c in (*result["given"], *result["excluded"])] == [1, 0]
        if kind is orderless_config:
            assert result["sequence"][0] == result["given"][0]
            assert result["sequence_probabilities"][0] < 1  # the model's own
    # A list for each image, by index, of which some have none.
    mixed = inferencer(
        images, progress=False, given=[None, [np.int64(result["given"][0])], [], (), None]
    )
    assert_same([mixed[i] for i in (0, 2, 3, 4)], [plain[i] for i in (0, 2, 3, 4)])
    assert mixed[1]["names"][0] == given[0]
    assert "given" not in mixed[0]
    if kind is bce_config:  # nothing else changes
        for one, other in zip(for_all, plain):
            others = [name for name in other["names"] if name not in (*given, excluded)]
            assert one["names"][1:] == others
    assert_same(inferencer(images, progress=False, given=[], excluded=[]), plain)


def test_what_is_known_of_an_unreadable_image_is_not_needed(inferencer, images):
    results = inferencer(
        ["gone.png", images[0]], progress=False, skip_unreadable=True, given=[["ant"], ["bee"]]
    )
    assert "error" in results[0]
    assert results[1]["names"][0] == "bee"


@pytest.mark.parametrize(
    "known, message",
    [
        (dict(given=["emu"]), r"image .*0\.png, given: 'emu' is not one of the 4 classes \(ant"),
        (dict(excluded=[4]), r"image .*0\.png, excluded: 4 is not one of the 4 classes"),
        (dict(given=[None, [-1]]), r"image .*1\.png, given: -1 is not one"),
        (dict(given=[None, [0.5]]), r"image .*1\.png, given: 0\.5 is not one"),
        (dict(given=[["ant"], [None]]), r"image .*1\.png, given: None is not one"),
        (dict(given=[True]), "True is not one of the 4 classes"),
        (dict(given=["ant", 0]), r"image .*0\.png: 'ant' occurs twice in given; list it once"),
        (dict(given=["bee"], excluded=[0, 1]), "'bee' is given and excluded; remove it from one"),
        (dict(given=[["ant"]]), "given has lists for 1 images, but 2 are predicted; give one list"),
        (dict(given="ant"), "given must be a list of class names or indices for all .* got 'ant'"),
        (dict(given=["ant", ["bee"]]), "given must be a list of class names or indices"),
        (dict(excluded=[0.5]), "excluded must be a list of class names or indices"),
    ],
)
def test_contradictions_of_known_labels_are_one_line_errors(inferencer, images, known, message):
    with pytest.raises(ValueError, match=message) as error:
        inferencer(images[:2], progress=False, **known)
    assert "\n" not in str(error.value)


def test_more_given_labels_than_steps_name_the_image(tmp_path, images):
    cfg = orderless_config()
    cfg.model.head.max_steps = 3
    inferencer = OrderlessInferencer(cfg, save(cfg, tmp_path / "k.pth"), device="cpu")
    message = r"image .*1\.png: 3 labels are given, but the model emits at most 2 \(max_steps=3"
    with pytest.raises(ValueError, match=message):
        inferencer(images[:2], progress=False, given=[None, ["ant", "bee", "cat"]])
    result = inferencer(images[0], progress=False, given=["dog", "ant"])[0]
    assert result["names"][:2] == ["dog", "ant"]
