import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import ClassifierChain

from mmorderless.models.heads.chain_head import ChainHead


def chain(weight, bias, links, order):
    """Head of one chain with given weights."""
    weight, bias, links = (torch.as_tensor(x, dtype=torch.float32) for x in (weight, bias, links))
    head = ChainHead(*weight.shape, order=order)
    head.load_state_dict({"fc.weight": weight, "fc.bias": bias, "links": links[None]})
    return head


WEIGHT, BIAS, ORDER = [[1, 0], [0, 1], [1, 1]], [0, -1, -3], [0, 1, 2]
LINKS = [[0, 0, 0], [2, 0, 0], [0, 4, 0]]
FEATS = (torch.tensor([[0.5, 0.0]]),)


def label_set(head, feats=FEATS):
    return head.predict(feats)[0].pred_label.tolist()


def test_example():
    head = chain(WEIGHT, BIAS, LINKS, ORDER)
    torch.testing.assert_close(head(FEATS), torch.tensor([[0.5, 1.0, 1.5]]))
    truth = [DataSample().set_gt_label([0, 1, 2])]
    assert head.loss(FEATS, truth)["loss"].item() == pytest.approx(0.329584, abs=1e-6)
    assert label_set(head) == [0, 1, 2]
    alone = chain(WEIGHT, BIAS, np.zeros((3, 3)), ORDER)
    torch.testing.assert_close(alone(FEATS), torch.tensor([[0.5, -1.0, -2.5]]))
    assert label_set(alone) == [0]


def test_only_labels_before_a_class_are_its_inputs():
    links = torch.ones(3, 3)
    head = chain(WEIGHT, BIAS, links, order=[2, 0, 1])
    expected = torch.tensor([[[0, 0, 1], [1, 0, 1], [0, 0, 0]]])
    assert torch.equal(head.label_weights(), expected.float())


def test_training_takes_the_true_labels_and_prediction_its_own():
    head = chain(WEIGHT, BIAS, LINKS, ORDER)
    truth = [DataSample().set_gt_label([1])]
    given = torch.tensor([[[0.0, 1.0, 0.0]]])
    logits = head.chain_logits(FEATS, given)
    torch.testing.assert_close(logits, torch.tensor([[[0.5, -1.0, 1.5]]]))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, given)
    torch.testing.assert_close(head.loss(FEATS, truth)["loss"], expected)


def test_predictions_equal_those_of_scikit_learn():
    random = np.random.default_rng(0)
    x = random.normal(size=(80, 4)).astype(np.float32)
    y = (x @ random.normal(size=(4, 5)) + random.normal(size=(80, 5)) > 0).astype(int)
    order = [3, 0, 4, 1, 2]
    oracle = ClassifierChain(LogisticRegression(), order=order).fit(x, y)
    weight, bias, links = np.zeros((5, 4)), np.zeros(5), np.zeros((5, 5))
    for place, (label, regression) in enumerate(zip(order, oracle.estimators_)):
        weight[label], bias[label] = regression.coef_[0, :4], regression.intercept_[0]
        links[label, order[:place]] = regression.coef_[0, 4:]
    head = chain(weight, bias, links, order)
    samples = head.predict((torch.from_numpy(x),))
    scores = torch.stack([sample.pred_score for sample in samples])
    np.testing.assert_allclose(scores.detach(), oracle.predict_proba(x), atol=1e-5)
    for sample, row in zip(samples, oracle.predict(x)):
        assert sample.pred_label.tolist() == np.flatnonzero(row).tolist()


def test_several_chains_are_averaged():
    torch.manual_seed(0)
    head = MODELS.build(dict(type="ChainHead", num_classes=4, in_channels=2, num_chains=3))
    assert not head.needs_training_labels
    assert head.orders.sort(1).values.tolist() == [[0, 1, 2, 3]] * 3
    assert len({tuple(order) for order in head.orders.tolist()}) == 3
    assert torch.equal(ChainHead(4, 2, num_chains=3).orders, head.orders)
    torch.nn.init.normal_(head.links)
    torch.nn.init.normal_(head.fc.weight)
    weights = head.fc.weight.unflatten(0, (3, 4)), head.fc.bias.unflatten(0, (3, 4)), head.links
    singles = [chain(*w, order.tolist()) for *w, order in zip(*weights, head.orders)]
    feats = (torch.randn(6, 2),)
    scores = torch.stack([single(feats).sigmoid() for single in singles])
    assert not torch.equal(scores[0] >= 0.5, scores[1] >= 0.5)
    torch.testing.assert_close(head(feats).sigmoid(), scores.mean(0))
    truth = [DataSample().set_gt_label(torch.arange(i % 4)) for i in range(6)]
    losses = torch.stack([single.loss(feats, truth)["loss"] for single in singles])
    torch.testing.assert_close(head.loss(feats, truth)["loss"], losses.mean())


def test_the_order_of_the_training_set_is_frequent_first_and_part_of_checkpoints():
    head = ChainHead(3, 2)
    assert head.needs_training_labels
    with pytest.raises(ValueError, match=r"order of a chain needs the training set: .* ChainHead"):
        head(FEATS)
    head.set_training_labels(["a", "b", "c"], np.array([1, 9, 5]), 9)
    assert head.orders.tolist() == [[1, 2, 0]]
    restored = ChainHead(3, 2)
    restored.load_state_dict(head.state_dict())
    assert restored.orders.tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("order, chains", [([0, 1], 1), ([0, 1, 1], 1), ([0, 1, 2], 2)])
def test_an_order_that_does_not_fit_is_an_error(order, chains):
    with pytest.raises(ValueError, match="is no order of a single chain over 3 classes; give"):
        ChainHead(3, 2, num_chains=chains, order=order)


def test_there_is_a_chain():
    with pytest.raises(ValueError, match="num_chains must be at least 1, got 0"):
        ChainHead(3, 2, num_chains=0)


def test_known_labels_are_inputs_of_the_classes_after_them():
    """The links change each class's sign; class 0 does not depend on what comes after it."""
    head = chain(WEIGHT, BIAS, LINKS, ORDER)

    def predict(given=(), excluded=()):
        sample = DataSample()
        sample.set_field(torch.tensor(given, dtype=torch.int64), "given")
        sample.set_field(torch.tensor(excluded, dtype=torch.int64), "excluded")
        head.predict(FEATS, [sample])
        return sample.pred_label.tolist(), sample.pred_score

    # Logits without links: 0.5, −1, −2.5; a true 0 adds 2 to class 1, a true 1 adds 4 to class 2.
    labels, scores = predict(excluded=[0])
    assert labels == []
    expected = torch.tensor([-1.0, -2.5]).sigmoid()
    torch.testing.assert_close(scores, torch.cat([torch.zeros(1), expected]))
    labels, scores = predict(given=[1], excluded=[0])
    assert labels == [1, 2]
    torch.testing.assert_close(scores, torch.tensor([0.0, 1.0, torch.tensor(1.5).sigmoid()]))
    labels, scores = predict(excluded=[1])
    assert labels == [0]
    expected = torch.tensor([0.5, -float("inf"), -2.5]).sigmoid()
    torch.testing.assert_close(scores, expected)


def test_known_labels_reach_every_chain_in_its_order():
    torch.manual_seed(0)
    several = ChainHead(4, 2, num_chains=3)
    torch.nn.init.normal_(several.links)
    torch.nn.init.normal_(several.fc.weight)
    weights = several.fc.weight.unflatten(0, (3, 4)), several.fc.bias.unflatten(0, (3, 4))
    singles = [
        chain(*w, order.tolist()) for *w, order in zip(*weights, several.links, several.orders)
    ]
    feats = (torch.randn(6, 2),)

    def scores_of(head):
        samples = [DataSample() for _ in range(6)]
        for sample in samples:
            sample.set_field(torch.tensor([2]), "given")
            sample.set_field(torch.tensor([0]), "excluded")
        return torch.stack([s.pred_score for s in head.predict(feats, samples)])

    mean = torch.stack([scores_of(single) for single in singles]).mean(0)
    torch.testing.assert_close(scores_of(several), mean)
