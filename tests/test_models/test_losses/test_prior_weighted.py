import json
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmorderless.datasets.wider_attribute import WiderAttribute
from mmorderless.engine.hooks.training_context_hook import TrainingContextHook
from mmorderless.models.losses.prior_weighted import PriorWeightedBCELoss


def test_example(example):
    logits, target = example
    loss = PriorWeightedBCELoss([0.5, 0.2, 0.05, 0.9])
    bce = F.binary_cross_entropy_with_logits(logits, target.double(), reduction="none")
    weights = [[1.648721, 1.221403, 2.585710, 2.459603], [1.648721, 2.225541, 1.051271, 2.459603]]
    expected = torch.tensor(weights, dtype=torch.float64)
    torch.testing.assert_close(loss.entries(logits, target) / bce, expected, atol=1e-6, rtol=0)
    assert float(loss(logits, target)) == pytest.approx(0.904524, abs=1e-6)
    assert float(loss.entries(logits, target).sum()) / 2 == pytest.approx(3.618094, abs=1e-6)


def test_half_of_the_images_gives_a_multiple_of_bce(example):
    logits, target = example
    bce = F.binary_cross_entropy_with_logits(logits, target.double())
    torch.testing.assert_close(
        PriorWeightedBCELoss([0.5] * 4)(logits, target), math.sqrt(math.e) * bce
    )


def test_the_rarer_value_weighs_more():
    loss, logits = PriorWeightedBCELoss([0.0, 1.0]), torch.zeros(1, 2)
    positive, negative = (
        loss.entries(logits, y) / math.log(2) for y in (torch.ones(1, 2), torch.zeros(1, 2))
    )
    torch.testing.assert_close(positive, torch.tensor([[math.e, 1.0]]))
    torch.testing.assert_close(negative, torch.tensor([[1.0, math.e]]))


def run(loss, dataset):
    """Give a loss the labels of a dataset as a run does."""
    model = nn.Sequential(nn.Linear(1, 1), loss)
    loader = SimpleNamespace(dataset=dataset)
    TrainingContextHook().before_train(SimpleNamespace(model=model, train_dataloader=loader))
    return loss


class FourImages:
    metainfo = dict(classes=["a", "b"])

    def __len__(self):
        return 4

    def get_data_info(self, index):
        return dict(gt_label=[[0], [0, 1], [0], []][index])


def test_shares_are_those_of_the_training_set_and_part_of_checkpoints():
    trained = run(PriorWeightedBCELoss(), FourImages())
    assert trained.positive_share().tolist() == [0.75, 0.25]
    restored = PriorWeightedBCELoss()
    restored.load_state_dict(trained.state_dict())
    assert restored.positive_share().tolist() == [0.75, 0.25]
    assert list(PriorWeightedBCELoss([0.5, 0.5]).state_dict()) == []
    assert run(PriorWeightedBCELoss([0.5, 0.5]), FourImages()).positive_share().tolist() == [
        0.5,
        0.5,
    ]


def test_unspecified_attributes_of_wider_count_as_negative(tmp_path):
    values = [[1, 0], [-1, 1], [0, 0], [1, -1]]
    targets = [dict(attribute=value + [-1] * 12, bbox=[0, 0, 9, 9]) for value in values]
    content = dict(
        images=[dict(file_name="train/0.jpg", targets=targets)],
        attribute_id_map={str(c): f"attribute {c}" for c in range(14)},
    )
    (tmp_path / "wider.json").write_text(json.dumps(content))
    dataset = WiderAttribute(data_root=str(tmp_path), ann_file="wider.json")
    share = run(PriorWeightedBCELoss(), dataset).positive_share()
    assert share[:3].tolist() == [0.5, 0.25, 0.0]


def test_errors():
    with pytest.raises(ValueError, match=r"weight of a class needs the training set: .* its pos"):
        PriorWeightedBCELoss()(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"shares of 3 classes and the head 2 classes; give pos"):
        PriorWeightedBCELoss([0.5] * 3)(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"positive_share must be in \[0, 1\], got \[0\.5, 2\.0\]"):
        PriorWeightedBCELoss([0.5, 2.0])
