import json

import pytest
from mmengine.config import Config

import mmorderless  # noqa: F401 - registers the datasets
from mmorderless.comparison.evaluation.prior import evaluate_prior


@pytest.fixture
def cfg(tmp_path):
    def loader(split, *label_sets):
        items = [
            {"img_path": f"{split}{i}.jpg", "gt_label": labels}
            for i, labels in enumerate(label_sets)
        ]
        file = tmp_path / f"{split}.json"
        file.write_text(json.dumps({"metainfo": {"classes": ["a", "b", "c"]}, "data_list": items}))
        return dict(dataset=dict(type="mmpretrain.JsonMultiLabel", ann_file=str(file)))

    return Config(
        dict(
            train_dataloader=loader("train", [0, 1], [0], [0], [2, 0]),  # shares 1, 1/4, 1/4
            val_dataloader=loader("val", [0, 1, 2], [1, 2]),
            test_dataloader=loader("test", [0], [0, 1], [], [1]),
        )
    )


def test_the_label_prior_by_hand(cfg):
    result = evaluate_prior(cfg)
    # {a} for each of the four: two right, two of the four labels.
    assert result["default"]["OP"] == 50
    assert result["default"]["OR"] == 50
    assert result["default"]["CP"] == pytest.approx(50 / 3)
    # On the held-out images all classes are best; the threshold nearest 0.5 that gives them all.
    tuned = result["tuned"]["OF1"]
    assert tuned["value"] == 0.25
    assert (tuned["metrics"]["OP"], tuned["metrics"]["OR"]) == (pytest.approx(100 / 3), 100)
    assert result["known_sets"] == 50  # {a} and {a, b}
    # All images have equal scores, so AP is the class frequency; class c has no image.
    assert result["default"]["mAP"] == pytest.approx((50 + 50) / 2)


def test_labels_that_are_not_judged_are_left_out_of_map(cfg):
    file = cfg.test_dataloader.dataset.ann_file
    with open(file) as opened:
        content = json.load(opened)
    for image in (2, 3):
        content["data_list"][image]["gt_ignore"] = [0]
    with open(file, "w") as opened:
        json.dump(content, opened)
    # All judged images have class a, and half of the four have class b.
    assert evaluate_prior(cfg)["default"]["mAP"] == pytest.approx((100 + 50) / 2)
