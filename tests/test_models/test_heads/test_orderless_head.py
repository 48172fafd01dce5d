import pytest
import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample, MultiTaskDataSample

from mmorderless.labels.vocabulary import IGNORE
from mmorderless.models.decoders.attention_rnn import AttentionGRU, AttentionLSTM
from mmorderless.models.decoders.transformer import TransformerLabelDecoder
from mmorderless.models.losses.aligned import (
    STRATEGIES,
    FixedOrderLoss,
    MLALoss,
    PLALoss,
    loss_of,
)
from mmorderless.models.losses.cross_entropy import sequence_cross_entropy
from mmorderless.models.losses.sampling import RandomDraws

C, D = 6, 8
DECODER = dict(hidden_size=16, embed_size=4, attention_size=5)
HEAD = dict(type="OrderlessRNNHead", num_classes=C, in_channels=D, max_steps=5, decoder=DECODER)
CLASSES, COUNTS = [*"fedcba"], [6, 5, 4, 3, 2, 1]
MULTI_ORDER = dict(
    decoder=dict(DECODER, type="MultiOrderRNN"),
    loss=dict(type="MultiOrderLoss"),
    decoding=dict(stop_threshold=0.5, no_repeat=True),
)


def make(dropout=0.5, **options):
    torch.manual_seed(0)
    return MODELS.build({**HEAD, "decoder": dict(DECODER, dropout=dropout), **options})


def samples(*label_sets):
    return [DataSample().set_gt_label(torch.tensor(x, dtype=torch.long)) for x in label_sets]


FEATS = (torch.randn(3, D, 2, 3),)
TRUTH = ([0, 3, 4], [], [5])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_learns_a_tiny_batch(strategy):
    head = make(strategy=strategy, dropout=0.0)
    if isinstance(head.loss_module, FixedOrderLoss):
        head.loss_module.set_training_labels(CLASSES, COUNTS)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = head.loss(FEATS, samples(*TRUTH))
        assert set(loss) == {"loss"}
        optimizer.zero_grad()
        loss["loss"].backward()
        optimizer.step()
        losses.append(loss["loss"].item())
    # Unused parameters would need find_unused_parameters in DDP.
    assert all(p.grad is not None for p in head.parameters())
    if strategy != "random":  # a random order cannot be memorized
        predicted = head.eval().predict(FEATS)
        assert [sorted(s.pred_label.tolist()) for s in predicted] == list(TRUTH)
    assert losses[-1] < losses[0]


def test_prediction_fields():
    head = make(return_attention=True).eval()
    with torch.no_grad():
        head.decoder.classifier.bias[C] = -1.0
        predicted = head.predict(FEATS)
        logits = head(FEATS)
    for i, sample in enumerate(predicted):
        raw = logits[i].argmax(1).tolist()
        raw = raw[: raw.index(C)] if C in raw else raw
        assert sample.sequence.tolist() == raw
        assert sample.pred_label.tolist() == list(dict.fromkeys(raw))
        assert sample.pred_label.dtype == torch.int64
        assert sample.pred_score.shape == (C,)
        p = logits[i].softmax(1)
        expected = [p[t, token] for t, token in enumerate(raw)]
        torch.testing.assert_close(sample.sequence_score, torch.tensor(expected))
        assert sample.attention.shape == (len(raw), 2, 3)
        torch.testing.assert_close(sample.attention.sum((1, 2)), torch.ones(len(raw)))
        for field in (sample.pred_score, sample.sequence, sample.sequence_score, sample.attention):
            # A pickled view would contain the whole batch.
            assert field.untyped_storage().nbytes() == field.numel() * field.element_size()


def test_predict_accepts_none_and_keeps_given_samples():
    head = make().eval()
    given = samples([1], [2], [3])
    predicted = head.predict(FEATS, [given[0], None, given[2]])
    assert predicted[0] is given[0]
    assert predicted[0].gt_label.tolist() == [1]
    assert "gt_label" not in predicted[1]
    for sample, alone in zip(predicted, head.predict(FEATS)):
        assert torch.equal(sample.pred_label, alone.pred_label)


def test_an_empty_set_is_predicted_as_an_empty_long_tensor():
    head = make().eval()
    with torch.no_grad():
        head.decoder.classifier.bias[C] = 100.0
    for sample in head.predict(FEATS):
        assert sample.pred_label.shape == (0,)
        assert sample.pred_label.dtype == torch.int64
        assert sample.sequence.shape == (0,)


def test_training_decodes_the_longest_set_and_end():
    head = make()
    seen = []
    head.loss_module.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    head.loss(FEATS, samples(*TRUTH))
    head.loss(FEATS, samples([], [], []))
    assert seen == [(3, 4, C + 1), (3, 1, C + 1)]


@pytest.mark.parametrize("options", [{}, MULTI_ORDER], ids=["PLA", "multi-order"])
def test_stages_of_an_image_classifier(options):
    model = ImageClassifier(
        backbone=dict(type="ResNet", depth=18, base_channels=4, stem_channels=4),
        neck=None,
        head={**HEAD, "in_channels": 32, **options},
    )
    images = torch.randn(2, 3, 64, 64)
    assert model.extract_feat(images, stage="pre_logits").shape == (2, 4, 32)
    losses = model(images, samples([1], []), mode="loss")
    assert all(loss.requires_grad for loss in losses.values())
    model.eval()
    assert model(images).shape[::2] == (2, C + 1)
    assert len(model(images, mode="predict")) == 2


def test_inside_a_multi_task_head():
    head = MODELS.build(
        dict(
            type="MultiTaskHead",
            task_heads=dict(objects=HEAD, scenes={**HEAD, "num_classes": 2, "max_steps": 3}),
        )
    )
    batch = []
    for i in range(3):
        sample = MultiTaskDataSample()
        sample.set_field(samples(TRUTH[i])[0], "objects")
        if i != 1:  # a task may be missing
            sample.set_field(samples([i % 2])[0], "scenes")
        batch.append(sample)
    losses = head.loss(FEATS, batch)
    assert losses["objects_loss"].isfinite()
    assert losses["scenes_mask_size"] == 2
    assert set(head(FEATS)) == {"objects", "scenes"}
    predicted = head.eval().predict(FEATS, batch)
    assert predicted[0].objects.pred_score.shape == (C,)
    assert predicted[1].scenes.pred_score.shape == (2,)
    assert len(head.predict(FEATS)) == 3


def test_the_decoder_is_a_config_of_its_own():
    config = dict(type="TransformerLabelDecoder", num_layers=1, num_heads=5, attention_size=5)
    given = dict(config)
    head = make(decoder=config)
    assert type(head.decoder) is TransformerLabelDecoder
    assert len(head.decoder.layers) == 1
    assert config == given
    assert type(make().decoder) is AttentionLSTM
    assert type(make(decoder=dict(DECODER, type=AttentionGRU)).decoder) is AttentionGRU
    with pytest.raises(TypeError, match="dropout"):
        make(decoder=dict(type="SemanticRNN", dropout=0.1))  # it has no dropout


def test_without_a_loss_the_head_learns_by_pla():
    assert type(make().loss_module) is PLALoss


def test_a_loss_is_a_config_with_its_options():
    head = make(loss=dict(type="MLALoss", average="world", loss_weight=2.0))
    assert type(head.loss_module) is MLALoss
    assert (head.loss_module.average, head.loss_module.loss_weight) == ("world", 2.0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_is_short_for_its_loss(strategy):
    heads = make(strategy=strategy), make(loss=loss_of(strategy))
    for head in heads:
        assert getattr(head.loss_module, "order", strategy) == strategy
        if isinstance(head.loss_module, FixedOrderLoss):
            head.loss_module.set_training_labels(CLASSES, COUNTS)
            head.loss_module.reseed(0, 0, 0)
    losses = []
    for head in heads:
        torch.manual_seed(3)
        losses.append(head.loss(FEATS, samples(*TRUTH))["loss"])
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    "options",
    [{}, dict(loss=dict(type="OrderSearchLoss", uniform_steps=3)), MULTI_ORDER],
    ids=["PLA", "order search", "multi-order"],
)
def test_a_checkpoint_restores_predictions_and_losses(options, tmp_path):
    trained = make(**options)
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.5)
    sum(trained.loss(FEATS, samples(*TRUTH)).values()).backward()
    optimizer.step()
    torch.save(trained.state_dict(), tmp_path / "head.pth")
    restored = MODELS.build({**HEAD, **options})
    assert list(restored.load_state_dict(torch.load(tmp_path / "head.pth"))) == [[], []]
    losses, predictions = [], []
    for head in (trained.eval(), restored.eval()):
        if isinstance(head.loss_module, RandomDraws):
            head.loss_module.reseed(0, 0, 0)
        losses.append(head.loss(FEATS, samples(*TRUTH)))
        predictions.append(head.predict(FEATS))
    for name, loss in losses[0].items():
        assert torch.equal(losses[1][name], loss), name
    for first, second in zip(*predictions):
        assert torch.equal(first.sequence, second.sequence)
        assert torch.equal(first.pred_score, second.pred_score)


def test_errors_of_the_config():
    with pytest.raises(ValueError, match=r"strategy='pla' .* loss=.*MLALoss.* not both"):
        make(strategy="pla", loss=dict(type="MLALoss"))
    with pytest.raises(ValueError, match=r"MeanBCELoss .* SequenceLoss"):
        make(loss=dict(type="MeanBCELoss"))
    with pytest.raises(ValueError, match=r"score='beam' .*beam_width"):
        make(score="beam")
    with pytest.raises(ValueError, match="'mean'; choose one of max, first, beam, own"):
        make(score="mean")
    with pytest.raises(ValueError, match=r"score='own' .* AttentionLSTM; set score='max'"):
        make(score="own")
    with pytest.raises(ValueError, match="unknown strategy 'plaa'; choose one of pla, mla"):
        make(strategy="plaa")
    with pytest.raises(
        ValueError, match="decoding has no option 'beam'; choose from beam_width, le"
    ):
        make(decoding=dict(beam=4))
    for loss in ("MultiOrderLoss", "OrderFreeLoss"):
        with pytest.raises(ValueError, match=f"{loss} does not train END, .* decoding.path_thres"):
            make(loss=dict(type=loss), decoding=dict(no_repeat=True))
    with pytest.raises(ValueError, match="max_steps must be at least 2"):
        make(max_steps=1)


def test_errors_of_the_batch():
    head = make()
    with pytest.raises(ValueError, match="cannot place 5 labels in 5 decoding steps; raise max_s"):
        head.loss(FEATS, samples([0, 1, 2, 3, 4], [], []))
    with pytest.raises(ValueError, match=r"label set of image 2 .* outside 0 … 5"):
        head.loss(FEATS, samples([0], [], [6]))
    with pytest.raises(ValueError, match="image 1 of the batch has no gt_label"):
        head.loss(FEATS, [samples([0])[0], DataSample(), DataSample()])
    soft = samples([0], [1], [2])
    for sample in soft:
        sample.set_gt_score(torch.tensor([0.4, 0.6, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match=r"soft labels .* set model\.train_cfg=None"):
        head.loss(FEATS, soft)
    with pytest.raises(ValueError, match=r"got tuple; keep the backbone's map"):
        head.loss((), samples(*TRUTH))


def test_one_hot_labels_of_the_data_preprocessor_change_nothing():
    """Mmpretrain's `to_onehot` adds gt_score to gt_label."""
    head = make(dropout=0.0)
    plain, with_score = samples(*TRUTH), samples(*TRUTH)
    for sample, labels in zip(with_score, TRUTH):
        score = torch.zeros(C)
        score[labels] = 1
        sample.set_gt_score(score)
    torch.testing.assert_close(head.loss(FEATS, plain), head.loss(FEATS, with_score))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_trains_and_predicts(dtype):
    head = make(dropout=0.0)
    expected = head.loss(FEATS, samples(*TRUTH))["loss"]
    with torch.autocast("cpu", dtype):
        loss = head.loss(FEATS, samples(*TRUTH))["loss"]
        predicted = head.eval().predict(FEATS)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, atol=0.05, rtol=0.05)
    assert all(p.grad.isfinite().all() for p in head.parameters())
    assert predicted[0].pred_score.dtype == torch.float32


@pytest.mark.parametrize("order", ["frequent_first", "dictionary", "random"])
def test_teacher_forcing_feeds_the_true_label_of_the_previous_step(order, monkeypatch):
    loss = dict(type="FixedOrderLoss", order=order, classes=CLASSES, counts=COUNTS)
    head = make(dropout=0.0, loss=dict(loss, teacher_forcing=True))
    fed = []
    rollout = head.decoder.training_rollout

    def watched(grid, lengths, feed):
        fed.append(feed)
        return rollout(grid, lengths, feed)

    monkeypatch.setattr(head.decoder, "training_rollout", watched)
    loss = head.loss(FEATS, samples(*TRUTH))["loss"]
    [tokens] = fed
    assert [sorted(row[: len(x)]) for row, x in zip(tokens.tolist(), TRUTH)] == list(TRUTH)
    assert (tokens == C).int().argmax(1).tolist() == [len(x) for x in TRUTH]
    state, token, logits = (
        head.decoder.init_state(head.pre_logits(FEATS)),
        torch.full((3,), C + 1),
        [],
    )
    for t in range(4):
        step_logits, state, _ = head.decoder.step(token, state)
        logits.append(step_logits)
        token = torch.where(tokens[:, t] == IGNORE, C, tokens[:, t])
    expected = sequence_cross_entropy(torch.stack(logits, 1), tokens)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is not None for p in head.parameters())
    monkeypatch.undo()  # in prediction the emitted token is fed back
    predicted = head.eval().predict(FEATS)
    own = make(dropout=0.0, strategy=order).eval().predict(FEATS)
    assert all(torch.equal(a.sequence, b.sequence) for a, b in zip(predicted, own))


def test_scores_that_disagree_with_the_labels_are_an_error():
    batch = samples([1], [2])
    for sample, named in zip(batch, ([1, 2], [2])):
        score = torch.zeros(C)
        score[named] = 1
        sample.set_gt_score(score)
    with pytest.raises(
        ValueError, match=r"gt_score of image 0 .* gt_label \[1\].* model\.train_cfg"
    ):
        make().loss((FEATS[0][:2],), batch)


@pytest.mark.parametrize("teacher_forcing", [False, True])
def test_features_that_are_not_finite_name_the_image(teacher_forcing):
    loss = dict(type="FixedOrderLoss", order="dictionary", classes=CLASSES)
    head = make(loss=dict(loss, teacher_forcing=teacher_forcing))
    feats = FEATS[-1].clone()
    feats[1, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="logits of image 1 of the batch are not finite"):
        head.loss((feats,), samples(*TRUTH))


def test_validation_never_raises_for_sets_that_do_not_fit():
    head = make().eval()
    truth = samples([0, 1, 2, 3, 4, 5], [], [])
    assert len(head.predict(FEATS, truth)) == 3


def test_layer_sizes_follow_the_vocabulary():
    head = MODELS.build(HEAD)
    assert head.decoder.embedding.num_embeddings == C + 2
    assert head.decoder.classifier.out_features == C + 1
    # mmpretrain's ClassNumCheckHook compares every module's num_classes with the dataset's.
    assert {m.num_classes for m in head.modules() if hasattr(m, "num_classes")} == {C}
