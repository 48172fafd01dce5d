import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import load_checkpoint
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import distributed, nn

from mmorderless.models.classifier import LabelSetClassifier

HEADS = {
    "linear": dict(type="MultiLabelLinearClsHead", num_classes=3, in_channels=8),
    "decoder": dict(
        type="OrderlessRNNHead",
        num_classes=3,
        in_channels=8,
        max_steps=4,
        decoder=dict(hidden_size=8, embed_size=4, attention_size=4, dropout=0.0),
    ),
}


@MODELS.register_module()
class DroppingNeck(nn.Module):
    """A neck with weights, batch norm and dropout."""

    def __init__(self, pool):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.Dropout(0.5))
        self.pool = pool

    def forward(self, feats):
        x = self.layers(feats[-1])
        return (x.mean((2, 3)) if self.pool else x,)


def config(head="decoder", **options):
    return dict(
        type="LabelSetClassifier",
        data_preprocessor=dict(type="ClsDataPreprocessor", mean=[0] * 3, std=[1] * 3),
        backbone=dict(type="StridedCNN", channels=(4, 8)),
        neck=dict(type="DroppingNeck", pool=head == "linear"),
        head=HEADS[head],
        **options,
    )


def build(head="decoder", **options) -> LabelSetClassifier:
    return MODELS.build(config(head, **options))


def batch():
    labels = [[0, 1], [2], [], [1]]
    samples = [DataSample().set_gt_label(torch.tensor(y, dtype=torch.long)) for y in labels]
    return torch.randn(4, 3, 16, 16), samples


def train(model, steps=3):
    images, samples = batch()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        sum(model.loss(images, samples).values()).backward()
        optimizer.step()


def state(model, *parts):
    return {
        name: tensor.clone()
        for name, tensor in model.state_dict().items()
        if name.startswith(parts or "")
    }


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("head", HEADS)
def test_frozen_encoder_is_unchanged_while_the_head_trains(head):
    model = build(head, freeze_encoder=True)
    before = state(model)
    train(model)
    learned = changed(before, state(model))
    assert learned
    assert all(name.startswith("head.") for name in learned)
    free = build(head)
    before = state(free)
    train(free)
    learned = changed(before, state(free))
    for part in ("backbone.convolutions.0.weight", "backbone.norms.0.running_mean", "neck.layers."):
        assert any(name.startswith(part) for name in learned)


def test_frozen_encoder_gives_the_same_features_in_training_as_in_evaluation():
    model = build(freeze_encoder=True)
    images, _ = batch()
    trained, evaluated = (model.train(mode).extract_feat(images)[0] for mode in (True, False))
    assert torch.equal(trained, evaluated)
    assert not trained.requires_grad
    assert not model.train().backbone.training
    assert model.head.training
    free = build().train()
    assert not torch.equal(free.extract_feat(images)[0], free.extract_feat(images)[0])


def test_frozen_features_can_be_those_before_the_last_layer():
    model = build("linear", freeze_encoder=True)
    images, _ = batch()
    expected = model.extract_feat(images)[0]
    assert torch.equal(model.extract_feat(images, stage="pre_logits"), expected)
    assert model.extract_feat(images, stage="backbone")[0].shape == (4, 8, 4, 4)


def test_gradients_are_frozen_from_the_start():
    """A distributed wrapper reads requires_grad when it is created."""
    model = build(freeze_encoder=True)
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    encoder = {name for name, _ in model.named_parameters() if not name.startswith("head.")}
    assert frozen == encoder != set()


def test_frozen_encoder_can_be_initialized_and_loaded(tmp_path):
    source = MODELS.build({**config(), "type": "ImageClassifier"})
    train(source)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / "a.pth")
    before = state(source)
    init = dict(type="Pretrained", checkpoint=str(tmp_path / "a.pth"), prefix="backbone")
    cfg = config(freeze_encoder=True, channels_last=True)
    cfg["backbone"] = dict(cfg["backbone"], init_cfg=init)
    model = MODELS.build(cfg)
    assert changed(state(source, "backbone."), state(model, "backbone."))
    model.init_weights()
    assert not changed(state(source, "backbone."), state(model, "backbone."))
    load_checkpoint(model, str(tmp_path / "a.pth"), map_location="cpu", strict=True)
    assert not changed(before, state(model))
    assert not any(weight.requires_grad for weight in model.backbone.parameters())


def test_without_options_it_is_an_image_classifier():
    torch.manual_seed(1)
    model = build("linear")
    plain = MODELS.build({**config("linear"), "type": "ImageClassifier"})
    assert type(plain) is ImageClassifier
    plain.load_state_dict(model.state_dict())
    images, samples = batch()
    losses = []
    for each in (model, plain):
        torch.manual_seed(2)
        losses.append(each.train().loss(images, samples)["loss"])
    assert torch.equal(*losses)


def test_channels_last_changes_the_layout_and_not_the_results():
    model, fast = build(), build(channels_last=True)
    fast.load_state_dict(model.state_dict())
    seen = []
    fast.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images, samples = batch()
    torch.testing.assert_close(
        fast.eval().extract_feat(images)[0], model.eval().extract_feat(images)[0]
    )
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    for weight in fast.parameters():
        if weight.dim() == 4:
            assert weight.is_contiguous(memory_format=torch.channels_last)
    losses = []
    for each in (model, fast):
        # Dropout masks follow the memory layout.
        each.neck.layers[2].p = 0.0
        loss = each.train().loss(images, samples)["loss"]
        loss.backward()
        losses.append(loss.detach())
    torch.testing.assert_close(*losses)
    for ours, theirs in zip(fast.parameters(), model.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


@pytest.fixture
def process_group(tmp_path):
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_a_distributed_run_need_not_look_for_unused_parameters():
    images, samples = batch()

    def two_steps(model):
        wrapped = MMDistributedDataParallel(model, find_unused_parameters=False).train()
        for _ in range(2):
            wrapped(images, samples, mode="loss")["loss"].backward()

    model = build(freeze_encoder=True, channels_last=True)
    two_steps(model)
    assert not model.backbone.training
    assert model.head.training
    # With unfrozen parameters that get no gradients it fails.
    model.backbone.requires_grad_(True)
    with pytest.raises(RuntimeError, match="Expected to have finished reduction"):
        two_steps(model)
