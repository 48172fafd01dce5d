"""A config's `method`: where it is looked up, what it changes; every shipped one builds."""

import ast
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.comparison.plan import CACHED, NEED_IMAGES
from mmorderless.engine.hooks.training_context_hook import TrainingContextHook
from mmorderless.models.losses.aligned import STRATEGIES
from mmorderless.models.training_labels import NeedsTrainingLabels
from mmorderless.runs import methods
from mmorderless.runs.config import read_config
from mmorderless.runs.launch import training_config
from mmorderless.runs.options import parse_training_options

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = {path.stem: path for path in sorted((CONFIGS / "_base_/methods").glob("*.py"))}
WITHOUT_SEQUENCE = {"bce", "asl", "csra", "lsep", "lsep_count"}
WITHOUT_SEQUENCE |= {"soft_iou", "target_distribution", "bce_count", "lqp"}
WITHOUT_SEQUENCE |= {"bce_max", "deepmar", "two_way", "hill", "splc", "chain", "ctran"}
WITHOUT_SEQUENCE |= {"srn", "ml_decoder", "query2label", "hp_net"}
WITHOUT_SEQUENCE |= {"acf", "acfs", "wsddn", "rarl", "class_queries", "bce_mlp"}
OURS = {"class_queries", "bce_mlp", "pla_queries", "pla_prompted", "known_sets"}

CONFIG = """
model = dict(type='ImageClassifier', backbone=dict(type='StridedCNN'), neck=None,
             head=dict(type='OrderlessRNNHead', num_classes=3, in_channels=8, max_steps=4,
                       decoder=dict(type='AttentionLSTM', hidden_size=16, dropout=0.1),
                       loss=dict(type='PLALoss')))
train_dataloader = dict(dataset=dict(type='DigitScenes'))
"""
RARE = """
model = dict(
    head=dict(type='OrderlessRNNHead', loss=dict(type='FixedOrderLoss', order='rare_first')))
"""
RIA_LOSS = dict(type="FixedOrderLoss", teacher_forcing=True, average="image")
REPLACED = """
model = dict(
    neck=dict(_delete_=True, type='Pool'),
    head=dict(_delete_=True, type='Other', decoder=dict(type='Own', dropout=0.5)))
keep = ['neck', 'head.num_classes', 'head.drop_class_token', 'head.decoder.dropout']
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file below the working directory, which has the config project/a/config.py."""

    def write(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    monkeypatch.chdir(tmp_path)
    write("project/a/config.py", CONFIG)
    return write


FIRST = "project/a/config.py"


def read(path=FIRST, **options):
    return read_config(path, options)


def without_none(cfg):
    """Drop the keys whose value is None, in nested dicts as well."""
    if not isinstance(cfg, dict):
        return cfg
    return {key: without_none(value) for key, value in cfg.items() if value is not None}


@pytest.mark.parametrize("before", ["cnn_rnn", "ocd", "pla_transformer", "order_search"])
def test_method_does_not_inherit_from_the_previous_method(before, write, tmp_path):
    """A config saved after one method is turned into another."""
    given = {"model.head.loss.uniform_steps": 7} if before == "order_search" else {}
    read(method=before, **given).dump("project/a/before.py")
    for method in set(SHIPPED) - WITHOUT_SEQUENCE:
        ours = read("project/a/before.py", method=method).model.head
        expected = read(method=method).model.head
        assert without_none(ours) == without_none(expected)


def test_a_config_made_by_acfs_is_turned_into_another_method(write):
    read(method="acfs").dump("project/a/before.py")
    for method in WITHOUT_SEQUENCE:
        ours, expected = (read(f, method=method).model for f in ("project/a/before.py", FIRST))
        for model in (ours, expected):
            model.head.pop("decoder", None)  # ACfs has no decoder whose sizes could be kept
        if method in ("acf", "acfs"):
            assert ours == expected
        else:
            assert ours == {**expected, "type": "LabelSetClassifier"}


def test_a_model_with_a_teacher_is_not_replaced(repository):
    config = repository / "configs/digits/distilled_digits.py"
    assert read_config(config, dict(method="csra")).model.type == "DistillingClassifier"
    with pytest.raises(ValueError, match=r"method=acfs makes the model a Cons.*; start from a con"):
        read_config(config, dict(method="acfs"))


def test_method_that_was_not_applied_is_rejected(write):
    unread = Config.fromfile("project/a/config.py")
    methods.check_applied(unread)
    unread.method = "ria"
    with pytest.raises(ValueError, match=r"method='ria' was not applied.*read_config"):
        methods.check_applied(unread)
    with pytest.raises(ValueError, match="was not applied"):
        TrainingContextHook().before_run(SimpleNamespace(cfg=unread))


# Looking up -------------------------------------------------------------------------------------


def test_nearest_folder_above_the_config_takes_precedence(write):
    losses = []
    for folder in ("project", "project/a"):  # the shipped one always exists
        losses.append(read(method="mla").model.head.loss)
        write(f"{folder}/_base_/methods/mla.py", RARE.replace("rare_first", folder))
    losses.append(read(method="mla").model.head.loss)
    own = [dict(type="FixedOrderLoss", order=folder) for folder in ("project", "project/a")]
    assert losses == [dict(type="MLALoss"), *own]


def test_path_is_relative_to_the_config_or_the_working_directory(write):
    write("project/a/own/rare.py", RARE)
    for path in (
        "own/rare.py",
        "project/a/own/rare.py",
        str(Path("project/a/own/rare.py").absolute()),
    ):
        assert read(method=path).model.head.loss.order == "rare_first"
    with pytest.raises(FileNotFoundError, match=r"no method rare\.py, neither from \S+/project/a"):
        read(method="rare.py")


def test_an_unknown_method_lists_the_known_ones(write, monkeypatch):
    write("project/_base_/methods/own.py", RARE)
    for unknown in ("rai", 3, ["ria"]):
        with pytest.raises(
            ValueError, match=r"unknown method .* choose one of acf, .* own, .* ria"
        ):
            read(method=unknown)
    monkeypatch.setattr(methods, "SHIPPED", Path("nowhere"))  # a package without its configs
    with pytest.raises(ValueError, match=r"unknown method 'ria'; choose one of own \(") as error:
        read(method="ria")
    assert "\n" not in str(error.value)


# Merging ----------------------------------------------------------------------------------------


def test_config_without_a_method_is_unchanged(write):
    assert read().to_dict() == Config.fromfile("project/a/config.py").to_dict()
    assert read(method=None).model == read().model


def test_a_fragment_is_merged_over_the_model(write):
    before, cfg = read(), read(method="ria")
    changed = dict(
        decoder=dict(type="RecurrentAnnotator", hidden_size=16, dropout=0.1),
        loss=dict(RIA_LOSS, order="rare_first"),
        strategy=None,
        decoding=None,
    )
    assert cfg.model.head == {**before.model.head, **changed}
    assert cfg.model.backbone == before.model.backbone
    assert cfg.train_dataloader == before.train_dataloader


def test_a_config_that_names_its_method_equals_the_option(write):
    write("project/a/named.py", CONFIG + "method = 'ria'")
    assert read("project/a/named.py").model == read(method="ria").model
    assert read("project/a/named.py", method="mla").model == read(method="mla").model
    assert read("project/a/named.py", method=None).model == read().model


def test_replaced_head_keeps_the_keys_that_the_fragment_lists(write):
    write("_base_/methods/other.py", REPLACED)
    model = read(method="other").model
    # The config does not set drop_class_token, so the fragment's value is used.
    decoder = dict(type="Own", dropout=0.1)
    assert model.head == dict(type="Other", num_classes=3, decoder=decoder)
    assert model.neck is None  # as in the config
    own = "neck=dict(type='Own', p=2),"
    for said, neck in [("", dict(type="Pool")), (own, dict(type="Own", p=2))]:
        write("project/a/neck.py", CONFIG.replace("neck=None,", said))
        assert read("project/a/neck.py", method="other").model.neck == neck


def test_options_take_precedence_over_the_method(write):
    loss = read(**{"model.head.loss.order": "frequent_first", "method": "ria"}).model.head.loss
    assert loss == dict(RIA_LOSS, order="frequent_first")


@pytest.mark.parametrize("method", SHIPPED)
def test_saved_config_is_not_changed_again(method, write, tmp_path):
    cfg = read(**{"method": method, "model.backbone.channels": [4, 8]})
    assert cfg.method is None
    cfg.dump(tmp_path / "dumped.py")
    assert read("dumped.py").to_dict() == cfg.to_dict()
    assert "_delete_" not in (tmp_path / "dumped.py").read_text()


def test_a_run_takes_the_method(write):
    arguments = ["project/a/config.py", "--cfg-options", "method=sr_cnn_rnn"]
    cfg = training_config(parse_training_options(arguments))
    assert cfg.model.head.decoder == dict(type="SemanticRNN", hidden_size=16)
    assert cfg.method is None


# What does not fit ------------------------------------------------------------------------------


def test_fragment_with_other_keys_is_an_error(write):
    for text, named in [(RARE + "\ntrain_cfg = dict()", "model, train_cfg"), ("", "nothing")]:
        write("_base_/methods/more.py", text)
        with pytest.raises(ValueError, match=rf"a method sets model.*more\.py sets {named}; move"):
            read(method="more")


def test_an_option_of_what_the_fragment_removes_cannot_be_kept(write):
    write("_base_/methods/bare.py", REPLACED.replace("dict(type='Own', dropout=0.5)", "None"))
    with pytest.raises(ValueError, match=r"bare\.py keeps head\.decoder\.dropout .*; take it off"):
        read(method="bare")


def test_options_of_another_head_are_rejected(write):
    write("project/a/bce.py", CONFIG.replace("OrderlessRNNHead", "MultiLabelLinearClsHead"))
    with pytest.raises(ValueError, match=r"method=mla .* OrderlessRNNHead, .* MultiLabelLinear"):
        read("project/a/bce.py", method="mla")
    write("project/a/data.py", "train_dataloader = dict()")
    with pytest.raises(ValueError, match=r"method=mla needs a config with a model, and .*data\.py"):
        read("project/a/data.py", method="mla")


# The shipped methods ----------------------------------------------------------------------------


def test_these_methods_are_shipped():
    variants = {"pla_no_attention", "pla_gru", "pla_transformer", "mla_transformer"}
    variants |= {"pla_queries", "pla_prompted", "pla_cells"}
    older = {"cnn_rnn", "ria", "sr_cnn_rnn", "multi_order", "order_free", "order_search", "ocd"}
    pooled = {"set_pool", "set_pool_transformer"}
    sequences = set(STRATEGIES) | variants | older | pooled | {"known_sets"}
    assert set(SHIPPED) == sequences | WITHOUT_SEQUENCE


@pytest.mark.parametrize("method", sorted(set(SHIPPED) - OURS))
def test_a_method_tells_where_it_comes_from_and_what_is_faithful(method):
    text = SHIPPED[method].read_text(encoding="utf-8")
    docstring = " ".join(ast.get_docstring(ast.parse(text)).split())
    venues = "CVPR|ICPR|ACPR|ICCV|ECCV|ICLR|AAAI|NIPS|EMNLP|TIP|WACV|arXiv|Machine Learning"
    assert re.search(rf"({venues}) 20[12]\d", docstring)
    assert "aithful" in docstring


@pytest.mark.parametrize("method", sorted(OURS))
def test_a_method_without_a_paper_says_that_it_is_ours(method):
    assert " of ours" in SHIPPED[method].read_text(encoding="utf-8")


def test_these_methods_cannot_repeat_a_label():
    """Their sequences are marked in a comparison; all others may repeat one."""
    config = CONFIGS / "digits/pla_digits.py"
    heads = {name: read_config(config, dict(method=name)).model.head for name in SHIPPED}
    marked = {name for name in heads if (heads[name].get("decoding") or {}).get("no_repeat")}
    assert marked == {"ocd", "multi_order", "order_free", "set_pool", "set_pool_transformer"}
    marked.add("pla_queries")  # its decoder masks them
    for name in set(SHIPPED) - WITHOUT_SEQUENCE - {"known_sets"}:  # it emits sets
        head = MODELS.build({**heads[name], "in_channels": 8, "max_steps": 30}).eval()
        # Greedy, with END put off: 29 steps for 10 classes.
        head.decoding = replace(head.decoding, beam_width=1, open_beam=False, end_bias=30.0)
        sequences = [s.sequence.tolist() for s in head.predict(torch.randn(4, 8, 3, 3))]
        repeats = any(len(set(sequence)) < len(sequence) for sequence in sequences)
        assert repeats == (name not in marked), name


OPTIONS = re.compile(r"--cfg-options\s+(method=\w+(?:\s+model\.\S+=\S+)+)")
NAMED = [text for path in SHIPPED.values() for text in OPTIONS.findall(path.read_text("utf-8"))]


@pytest.mark.parametrize("text", NAMED)
def test_options_that_a_method_names_build_its_head(text):
    options = text.rstrip(";.,)").split()
    arguments = [str(CONFIGS / "pla_resnet101_coco.py"), "--cfg-options", *options]
    model = training_config(parse_training_options(arguments)).model
    for option in options[1:]:
        key, _, value = option.removeprefix("model.head.").partition("=")
        *parents, name = key.split(".")
        entry = model.head
        for parent in parents:
            entry = entry[parent]
        assert str(entry[name]) == value
    MODELS.build(model.head)


@pytest.mark.parametrize("method", STRATEGIES)
def test_a_method_of_the_paper_changes_the_loss_alone(method):
    config = CONFIGS / "digits/pla_digits.py"
    by_method = read_config(config, dict(method=method)).to_dict()
    by_loss = read_config(config, {"model.head.loss": STRATEGIES[method]}).to_dict()
    by_loss["model"]["head"] |= dict(strategy=None, decoding=None)
    assert by_method == {**by_loss, "method": None}


def test_bce_by_the_option_is_the_bce_config_with_another_pooling():
    by_method = read_config(CONFIGS / "digits/pla_digits.py", dict(method="bce"))
    by_config = read_config(CONFIGS / "digits/bce_digits.py")
    assert by_method.model.neck == dict(type="GlobalAveragePooling")
    assert by_method.model | dict(neck=by_config.model.neck) == by_config.model
    assert by_method.train_dataloader == by_config.train_dataloader


@pytest.mark.parametrize("neck", ["", "neck=None,", "neck=dict(type='Own', p=2),"])
def test_bce_pools_whatever_the_neck_was(neck, write):
    write("project/a/neck.py", CONFIG.replace("neck=None,", neck))
    assert read("project/a/neck.py", method="bce").model.neck == dict(type="GlobalAveragePooling")


NARROW = "decoder=dict(hidden_size=8, embed_size=4, attention_size=8, dropout=0.0)"
# Config, what makes it small, and the size of the inputs.
BASES = {
    "digits/pla_digits": (
        f"backbone=dict(channels=(4, 8)), head=dict(in_channels=8, {NARROW})",
        (3, 32, 32),
    ),
    "photos/pla_lite0_photos_cached": (f"head=dict({NARROW})", (1280, 2, 2)),
    "pla_resnet101_coco": (
        "backbone=dict(depth=18, base_channels=8, stem_channels=8, init_cfg=None), "
        f"head=dict(in_channels=64, {NARROW})",
        (3, 64, 64),
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("method", SHIPPED)
def test_every_method_trains_and_predicts_on_every_kind_of_config(method, base, tmp_path):
    sizes, shape = BASES[base]
    child = tmp_path / "small.py"  # outside the repository; its methods are found anyway
    child.write_text(f"_base_ = [{str(CONFIGS / f'{base}.py')!r}]\nmodel = dict({sizes})\n")
    cfg = read_config(child, dict(method=method))
    num_classes = Config.fromfile(CONFIGS / f"{base}.py").model.head.num_classes
    if method in NEED_IMAGES and cfg.model.backbone.type == CACHED:
        with pytest.raises(ValueError, match="needs images, and the inputs are cached features"):
            MODELS.build(cfg.model)
        return
    model = MODELS.build(cfg.model)
    label_sets = [[0, 3], [], [num_classes - 1]]
    for module in model.modules():
        if isinstance(module, NeedsTrainingLabels):
            names = [f"class {c}" for c in range(num_classes)]
            module.set_label_sets(names, [*label_sets, *label_sets[:2]])
    samples = [DataSample().set_gt_label(torch.tensor(y, dtype=torch.long)) for y in label_sets]
    inputs = torch.randn(3, *shape)

    losses = model(inputs, samples, mode="loss")
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    # Unused parameters would need find_unused_parameters in DDP.
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    model.eval()
    with torch.no_grad():
        predicted = model(inputs, mode="predict")
    for sample in predicted:
        assert sample.pred_score.shape == (num_classes,)
        labels = sample.pred_label.tolist()
        assert len(set(labels)) == len(labels)
        assert set(labels) <= set(range(num_classes))
        assert ("sequence" in sample) == (method not in WITHOUT_SEQUENCE)
