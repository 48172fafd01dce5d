from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.engine.hooks.class_names_match_hook import ClassNamesMatchHook
from mmorderless.models.distilling_classifier import DistillingClassifier, as_teachers_input
from mmorderless.runs.config import read_config

NORMALIZED = dict(type="ClsDataPreprocessor", mean=[10.0, 20, 30], std=[2.0, 4, 8], to_rgb=True)
BACKBONE = dict(type="StridedCNN", channels=(4, 8))
LINEAR = dict(
    type="MultiLabelLinearClsHead", num_classes=3, in_channels=8, loss=dict(type="MeanBCELoss")
)
WINDOWS = dict(num_classes=3, in_channels=8, hidden_size=6, loss=dict(type="MeanBCELoss"))
RNN = dict(
    type="OrderlessRNNHead",
    num_classes=3,
    in_channels=8,
    max_steps=4,
    decoder=dict(hidden_size=8, embed_size=4, attention_size=4, dropout=0.5),
)
POOL = dict(type="GlobalAveragePooling")


def samples():
    labels = [[0, 1], [2], [], [1]]
    return [DataSample().set_gt_label(torch.tensor(y, dtype=torch.long)) for y in labels]


IMAGES = torch.randn(4, 3, 24, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def teach(tmp_path):
    """Write the config and the checkpoint of a teacher, and build a student."""

    def build(teacher=LINEAR, student=LINEAR, classes=("a", "b", "c"), **options):
        torch.manual_seed(0)
        models = [
            dict(type="ImageClassifier", backbone=BACKBONE, head=head)
            | dict(neck=POOL if head["type"] == "MultiLabelLinearClsHead" else None)
            for head in (teacher, student)
        ]
        files = dict(config=str(tmp_path / "t.py"), checkpoint=str(tmp_path / "t.pth"))
        Config(dict(model=models[0], data_preprocessor=NORMALIZED)).dump(files["config"])
        state = dict(state_dict=MODELS.build(models[0]).state_dict())
        torch.save({**state, "meta": dict(dataset_meta=dict(classes=classes))}, files["checkpoint"])
        return MODELS.build(
            models[1]
            | dict(type="DistillingClassifier", teacher=files, data_preprocessor=NORMALIZED)
            | options
        )

    return build


def test_example_by_hand(teach, monkeypatch):
    """Z = [1, −1], temperature 5, labels {1}; sums over the two classes."""
    model = teach(*[LINEAR | dict(num_classes=2)] * 2)
    monkeypatch.setattr(model.head, "forward", lambda feats: torch.tensor([[1.0, -1.0]]))
    monkeypatch.setattr(model, "_soft_targets", lambda feats: torch.tensor([[0.489220, 0.978697]]))
    losses = model.loss(IMAGES[:1], [DataSample().set_gt_label([1])])
    assert 2 * losses["loss_distill"].item() == pytest.approx(1.494173, abs=1e-5)
    assert 2 * losses["loss"].item() == pytest.approx(2.626523, abs=1e-5)


@pytest.mark.parametrize("head", [LINEAR, RNN, {**WINDOWS, "type": "WSDDNHead"}])
def test_any_model_teaches_a_linear_head(teach, head):
    model = teach(head, temperature=5.0, weight=0.5).train()
    losses = model.loss(IMAGES, samples())
    feats = model.teacher.extract_feat(IMAGES)
    expected = torch.stack([s.pred_score for s in model.teacher.head.predict(feats)])
    torch.manual_seed(0)
    student = MODELS.build(
        dict(type="ImageClassifier", backbone=BACKBONE, neck=POOL, head=LINEAR)
    ).train()
    student.load_state_dict(model.state_dict(), strict=False)
    logits = student.head(student.extract_feat(IMAGES))
    soft = torch.nn.functional.binary_cross_entropy_with_logits(logits / 5, expected)
    torch.testing.assert_close(losses["loss_distill"], 0.5 * soft)
    sum(losses.values()).backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_any_config_gets_a_teacher_by_options(repository):
    options = {
        "method": "csra",
        "model.type": "DistillingClassifier",
        "model.teacher.config": "t.py",
        "model.teacher.checkpoint": "t.pth",
    }
    cfg = read_config(str(repository / "configs/digits/pla_digits.py"), options)
    model = MODELS.build(cfg.model)
    assert model.teacher_files == dict(config="t.py", checkpoint="t.pth")
    assert model.logit_scale.tolist() == pytest.approx([0.2] * 10)


def test_the_student_alone_without_weight(teach):
    model = teach(weight=0.0)
    torch.manual_seed(0)
    alone = MODELS.build(dict(type="ImageClassifier", backbone=BACKBONE, neck=POOL, head=LINEAR))
    alone.load_state_dict(model.state_dict(), strict=False)
    losses = model.loss(IMAGES, samples())
    assert losses["loss_distill"] == 0
    torch.testing.assert_close(losses["loss"], alone.loss(IMAGES, samples())["loss"])


def test_the_term_is_least_where_the_student_gives_the_teachers_scores(teach):
    model = teach(temperature=2.0)
    with torch.no_grad():  # the teacher's encoder in evaluation mode is the student's
        model.load_state_dict(model.teacher.state_dict(), strict=False)
        model.logit_scale.fill_(1.0)
    model.eval()
    model.loss(IMAGES, samples())["loss_distill"].backward()
    for weight in model.parameters():
        assert weight.grad.abs().max() < 1e-6


def test_sharpening(teach):
    model = teach(sharpen=0.5)
    feats = model.teacher.extract_feat(IMAGES)
    logits = model.teacher.head(feats)
    torch.testing.assert_close(model._soft_targets(feats), torch.sigmoid(2 * logits))


def test_the_teacher_is_unchanged_and_no_part_of_the_student(teach):
    model = teach().train()
    before = {name: value.clone() for name, value in model.teacher.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        sum(model.loss(IMAGES, samples()).values()).backward()
        optimizer.step()
    assert all(torch.equal(before[name], v) for name, v in model.teacher.state_dict().items())
    assert not any(weight.requires_grad for weight in model.teacher.parameters())
    plain = MODELS.build(dict(type="ImageClassifier", backbone=BACKBONE, neck=POOL, head=LINEAR))
    assert set(model.state_dict()) == {*plain.state_dict(), "logit_scale"}
    model.train()
    assert not model.teacher.training


def test_prediction_needs_no_teacher(teach, tmp_path):
    model = teach()
    (tmp_path / "t.pth").unlink()
    assert len(model.eval().predict(IMAGES)) == 4
    with pytest.raises(FileNotFoundError, match=r"t\.pth"):
        model.loss(IMAGES, samples())


def test_window_features_are_distilled_without_labels(teach):
    teacher, student = ({**WINDOWS, "type": name} for name in ("WSDDNHead", "WindowClsHead"))
    model = teach(teacher, student, features=True, student_scale=0.5, weight=2.0)
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    losses = model.eval().loss(IMAGES, samples())
    assert set(losses) == {"loss_features"}
    assert seen == [12]
    small = torch.nn.functional.interpolate(IMAGES, (12, 12), mode="bilinear", antialias=True)
    theirs = model.teacher.head.regions(model.teacher.extract_feat(IMAGES))
    ours = model.head.regions(model.extract_feat(small))
    expected = sum((a - b).square().sum() for a, b in zip(theirs, ours)) / (4 * ours.shape[1])
    torch.testing.assert_close(losses["loss_features"], expected)
    losses["loss_features"].backward()
    untouched = {name for name, weight in model.named_parameters() if weight.grad is None}
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert untouched == frozen == {"logit_scale", "head.fc.weight", "head.fc.bias"}


def test_the_teacher_gets_its_own_normalization():
    ours = MODELS.build(NORMALIZED)
    theirs = MODELS.build(dict(type="ClsDataPreprocessor", mean=[1.0] * 3, std=[5.0] * 3))
    raw = torch.arange(12.0).view(1, 3, 2, 2)
    inputs = ours(dict(inputs=raw.clone()))["inputs"]
    expected = theirs(dict(inputs=raw.clone()))["inputs"]
    torch.testing.assert_close(as_teachers_input(inputs, ours, theirs), expected)
    plain = MODELS.build(dict(type="ClsDataPreprocessor"))  # cached features
    assert torch.equal(as_teachers_input(raw, plain, plain), raw)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(student=RNN), "head must be a MultiLabelClsHead, got OrderlessRNNHead; a head with"),
        (dict(temperature=0.0), r"temperature and sharpen must be above 0, got 0\.0 and 1\.0"),
        (dict(sharpen=-1.0), r"temperature and sharpen must be above 0, got 5\.0 and -1\.0"),
        (dict(student_scale=0), "student_scale must be above 0 and at most 1, or None, got 0"),
        (dict(features=True), "head must be a WindowClsHead, got MultiLabelLinearClsHead; a head"),
        (dict(student=LINEAR | dict(num_classes=4)), r"t\.py has 3 classes, the student 4; train"),
        (
            dict(teacher=dict(type="ClassQueryHead", num_classes=4, in_channels=8)),
            r"t\.py has 4 classes, the student 3; train",
        ),
        (
            dict(student={**WINDOWS, "type": "WindowClsHead"}, features=True),
            "head is MultiLabelLinearClsHead, which has no features of windows; train one with",
        ),
        (
            dict(
                teacher={**WINDOWS, "type": "WSDDNHead", "hidden_size": 5},
                student={**WINDOWS, "type": "WindowClsHead"},
                features=True,
            ),
            "5\\), the student's .* 6\\); give both heads the same hidden_size",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(teach, options, message):
    with pytest.raises(ValueError, match=message) as error:
        teach(**options).loss(IMAGES, samples())
    assert "\n" not in str(error.value)


def test_the_teachers_files_are_checked(teach, tmp_path):
    with pytest.raises(ValueError, match=r"needs config and checkpoint, .* got checkpoint"):
        DistillingClassifier(dict(checkpoint="x"), backbone=BACKBONE, neck=POOL, head=LINEAR)
    model = teach()
    with (tmp_path / "t.py").open("a") as config:
        config.write("method = 'ria'\n")
    with pytest.raises(ValueError, match=r"t\.py has method=ria, .*; give the config"):
        model.loss(IMAGES, samples())
    (tmp_path / "t.py").unlink()
    with pytest.raises(FileNotFoundError, match=r"no config \S+t\.py of the teacher; set model\.t"):
        model.loss(IMAGES, samples())


def test_a_teacher_of_other_classes_is_refused_before_training(teach):
    def start(classes):
        dataset = SimpleNamespace(metainfo=dict(classes=classes))
        runner = SimpleNamespace(
            model=teach(classes=("a", "b", "c")),
            train_dataloader=SimpleNamespace(dataset=dataset),
            val_loop=None,
            _resume=False,
            _load_from=None,
        )
        ClassNamesMatchHook().before_train(runner)

    start(["a", "b", "c"])
    with pytest.raises(ValueError, match=r"trained on other classes .*'c' instead of 'b'"):
        start(["a", "c", "b"])
