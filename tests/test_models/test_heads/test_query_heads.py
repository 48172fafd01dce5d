"""ML-Decoder and Query2Label: what their queries see, and what is trained."""

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.heads.queries import cell_positions
from mmorderless.runs.config import read_config

CLASSES, CHANNELS = 5, 6
KINDS = ("MLDecoderHead", "Query2LabelHead")
E = torch.tensor([[2.0, -1, 0.5, 0], [-0.5, 1, -2, 0.3]])
TARGETS = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0]])


def build(kind, hidden_size=8, **options):
    decoder = dict(hidden_size=hidden_size, num_heads=2, feedforward_ratio=2)
    head = dict(num_classes=CLASSES, in_channels=CHANNELS, decoder=decoder)
    return MODELS.build(dict(type=kind, **head | dict(loss=dict(type="MeanBCELoss")) | options))


def shuffled(feats):
    """The same cells in another order."""
    order = torch.randperm(feats[0, 0].numel())
    return feats.flatten(2)[:, :, order].view_as(feats)


def num_trained(head):
    return sum(p.numel() for p in head.parameters())


def test_the_papers_sizes():
    head = MODELS.build(dict(type="MLDecoderHead", num_classes=80, in_channels=2048))
    assert num_trained(head) == 7_150_672
    assert head.queries.numel() == 61_440
    with torch.device("meta"):
        decoder = dict(hidden_size=2048)
        head = MODELS.build(
            dict(type="Query2LabelHead", num_classes=80, in_channels=2048, decoder=decoder)
        )
    assert num_trained(head) == pytest.approx(151.4e6, rel=1e-3)


def plain_layer(layer, x, keys, values, positions=0.0):
    x = layer.attention_norm(x + layer.attention(x + positions, keys, values)[0])
    return layer.feedforward_norm(x + layer.feedforward(x))


def test_ml_decoder_equals_its_equations():
    head, cells = build("MLDecoderHead", num_groups=2).eval(), torch.randn(2, 7, CHANNELS)
    memory = torch.relu(head.cells[0](cells))
    queries = head.query_norm(2 * head.queries).expand(2, -1, -1)  # q + dropout(q)
    queries = plain_layer(head.layer, queries, memory, memory)
    logits = [queries[:, c // 3] @ head.classifier.weight[c // 3, :, c % 3] for c in range(CLASSES)]
    torch.testing.assert_close(head(cells), torch.stack(logits, 1) + head.classifier.bias)


def test_dropout_of_fixed_queries_is_for_training():
    head, cells = build("MLDecoderHead"), torch.randn(1, 7, CHANNELS)
    head.layer.eval()
    assert not torch.allclose(head(cells), head(cells))


def test_query2label_equals_its_equations():
    head, feats = build("Query2LabelHead").eval(), torch.randn(2, CHANNELS, 3, 4)
    positions = cell_positions((3, 4), 8, feats)
    cells = head.cells(feats.flatten(2).transpose(1, 2))
    cells = plain_layer(head.encoder, cells, cells + positions, cells, positions)
    queries = torch.zeros(2, CLASSES, 8)
    for layer in head.layers:
        queries = plain_layer(layer, queries, cells + positions, cells, head.queries)
    logits = (head.norm(queries) * head.classifier.weight[..., 0]).sum(2) + head.classifier.bias
    assert len(head.layers) == 2
    torch.testing.assert_close(head(feats), logits)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_does_not_depend_on_its_batch(kind):
    head, feats = build(kind).eval(), torch.randn(2, CHANNELS, 3, 4)
    one_by_one = torch.cat([head((image[None],)) for image in feats])
    torch.testing.assert_close(head((feats,)), one_by_one)


@pytest.mark.parametrize("kind, matters", [("MLDecoderHead", False), ("Query2LabelHead", True)])
def test_whether_positions_matter(kind, matters):
    head, feats = build(kind).eval(), torch.randn(2, CHANNELS, 3, 4)
    assert torch.allclose(head((shuffled(feats),)), head((feats,)), atol=1e-5) != matters


def test_tokens_equal_the_map_without_positions():
    head, feats = build("MLDecoderHead").eval(), torch.randn(2, CHANNELS, 3, 4)
    tokens = feats.flatten(2).transpose(1, 2)
    expected = head((feats,))
    torch.testing.assert_close(head((tokens,)), expected)
    head.drop_class_token = True
    with_class_token = torch.cat([torch.randn(2, 1, CHANNELS), tokens], 1)
    torch.testing.assert_close(head((with_class_token,)), expected)


def test_maps_of_any_size_and_tokens_have_positions():
    head = build("Query2LabelHead")
    for shape in ((2, CHANNELS, 3, 4), (2, CHANNELS, 1, 1), (2, 7, CHANNELS)):
        assert head((torch.randn(shape),)).shape == (2, CLASSES)


@pytest.mark.parametrize("groups", [None, 2, 5])
def test_fixed_queries_are_saved_but_not_trained(groups):
    head = build("MLDecoderHead", num_groups=groups)
    before = head.queries.clone()
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    samples = [DataSample().set_gt_label(torch.tensor([0, 4]))] * 2
    head.loss((torch.randn(2, CHANNELS, 3, 4),), samples)["loss"].backward()
    optimizer.step()
    assert torch.equal(head.state_dict()["queries"], before)
    assert not head.queries.requires_grad
    assert all(p.grad is not None for p in head.parameters())


def test_learned_queries_are_trained():
    head = build("Query2LabelHead")
    samples = [DataSample().set_gt_label(torch.tensor([0, 4]))] * 2
    head.loss((torch.randn(2, CHANNELS, 3, 4),), samples)["loss"].backward()
    assert (head.queries.grad.abs().sum(1) > 0).all()


def test_the_authors_have_no_projection():
    assert isinstance(build("Query2LabelHead", hidden_size=CHANNELS).cells, torch.nn.Identity)


def test_up_to_a_hundred_queries():
    assert build("MLDecoderHead", num_classes=250).queries.shape == (100, 8)
    assert build("MLDecoderHead", num_classes=250).eval()(
        (torch.randn(1, CHANNELS, 2, 2),)
    ).shape == (1, 250)


def test_the_loss_of_an_example(repository):
    """0.730756 is the sum over the classes; the authors' code has 1,000 times the mean."""
    cfg = read_config(repository / "configs/digits/pla_digits.py", dict(method="query2label"))
    loss = MODELS.build(cfg.model.head.loss)(E, TARGETS, avg_factor=2)
    assert 4 * loss.item() == pytest.approx(0.730756, abs=1e-6)
    assert 1000 * loss.item() == pytest.approx(182.689, abs=1e-3)


@pytest.mark.parametrize("method", ["ml_decoder", "query2label"])
def test_a_method_keeps_the_configs_hidden_size(method, repository):
    config = repository / "configs/digits/pla_digits.py"
    assert read_config(config, dict(method=method)).model.head.decoder == dict(hidden_size=128)


def test_user_errors_are_one_line():
    with pytest.raises(ValueError, match="num_groups=6 is more than 5 classes; set it to 5"):
        build("MLDecoderHead", num_groups=6)
    with pytest.raises(ValueError, match="num_groups must be at least 1, got 0"):
        build("MLDecoderHead", num_groups=0)
    with pytest.raises(ValueError, match=r"hidden_size=9 .* set decoder.hidden_size to an even"):
        build("Query2LabelHead", hidden_size=9)
    for kind in KINDS:
        with pytest.raises(ValueError, match=r"decoder has no option 'size'; choose from hidden_s"):
            build(kind, decoder=dict(size=8))
        with pytest.raises(ValueError, match=r"map .* got \(2, 6\); keep the backbone's map"):
            build(kind)((torch.randn(2, CHANNELS),))
