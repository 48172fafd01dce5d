"""The head that turns an mmpretrain classifier into a generator of label sets."""

from dataclasses import fields

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from mmorderless.models.decoders.base import LabelDecoder, Rollout
from mmorderless.models.decoding.emission import (
    Emission,
    end_probability,
    mask_emitted,
    read_rollout,
)
from mmorderless.models.decoding.options import Decoding, check_known
from mmorderless.models.decoding.search import decode
from mmorderless.models.heads.data_samples import training_labels, write_samples
from mmorderless.models.heads.features import Features, as_grid
from mmorderless.models.heads.known_labels import mask_known_labels, read_prompt
from mmorderless.models.losses.aligned import loss_of
from mmorderless.models.losses.base import SequenceLoss

SCORES = ("max", "first", "beam", "own")


@MODELS.register_module()
class OrderlessRNNHead(BaseModule):
    """A decoder that emits an image's labels one by one, with the loss that trains it.

    Predictions carry `pred_label` (distinct labels in the order of emission), `pred_score` (see
    `score`), `sequence` (the labels as emitted, with repeats), `sequence_score` (their
    probabilities) and, with a softmax, `end_score` (END's probability after them); with
    `return_attention`, also `attention` (steps, h, w), or (steps, L) for tokens. `decoding` and
    `score` are attributes that may be set at any time.

    The given labels of a data sample begin its sequence, in their order, with the model's own
    probabilities, and have score 1, excluded ones score 0. The scores of other classes come from
    the steps after the given labels, which emit no known one; a decoder's own do not change.

    Args:
        num_classes: C.
        in_channels: channels D of the backbone's last map or tokens.
        max_steps: maximum number of steps, including END.
        decoder: config of the decoder without C and D; its type is `AttentionLSTM` unless given.
        loss: config of a `SequenceLoss`; `PLALoss` when neither this nor `strategy` is given.
        strategy: short for the loss of one of the paper's strategies: `pla`, `mla`,
            `frequent_first`, `rare_first`, `dictionary` or `random`.
        decoding: arguments of `Decoding`: END bias, no repeats, number of labels, beam width.
        score: what `pred_score` is for each class: the largest probability that a step up to END
            gave it (`max`), its probability when it was first emitted (`first`), its share of a
            beam's hypotheses (`beam`), or the decoder's own score of the class (`own`). None takes
            the decoder's default: `own` where it scores classes, else `max`.
        drop_class_token: whether the first token of (B, L, D) features is a class token.
        return_attention: whether predictions carry the attention weights.
        init_cfg: initialization, as everywhere in mmengine.

    Raises:
        ValueError: the strategy, score or an option of decoding is unknown, both `strategy` and
            `loss` are given, the loss is no `SequenceLoss`, does not have C class weights or does
            not train the END that decoding needs, `score='beam'` is set without beam search or
            `'own'` for a decoder that does not score classes, or a size is invalid.
    """

    takes_known_labels = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        max_steps: int,
        decoder: dict | None = None,
        loss: dict | None = None,
        strategy: str | None = None,
        decoding: dict | None = None,
        score: str | None = None,
        drop_class_token: bool = False,
        return_attention: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if strategy is not None and loss is not None:
            raise ValueError(f"give either strategy={strategy!r} or loss={loss}, not both")
        if max_steps < 2:
            raise ValueError(f"max_steps must be at least 2 (a label and END), got {max_steps}")
        if score not in (None, *SCORES):
            raise ValueError(f"unknown score {score!r}; choose one of {', '.join(SCORES)}")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.max_steps = max_steps
        self.drop_class_token = drop_class_token
        self.return_attention = return_attention
        check_known("decoding", decoding or {}, (field.name for field in fields(Decoding)))
        self.decoding = Decoding(**(decoding or {}))
        self.decoding.check_fits(num_classes, max_steps)
        sizes = dict(num_classes=num_classes, in_channels=in_channels)
        self.decoder: LabelDecoder = MODELS.build(
            {"type": "AttentionLSTM", **(decoder or {}), **sizes}
        )
        self.score = self.decoder.score if score is None else score
        self._check_score()
        loss_module = MODELS.build(loss or loss_of("pla" if strategy is None else strategy))
        if not isinstance(loss_module, SequenceLoss):
            raise ValueError(
                f"{type(loss_module).__name__} does not train a decoder; set the head's loss to a "
                "SequenceLoss such as PLALoss"
            )
        loss_module.check_class_weight(num_classes)
        if not loss_module.learns_end and not self.decoding.has_sigmoids:
            raise ValueError(
                f"{type(loss_module).__name__} does not train END, which ends decoding; set "
                "decoding.stop_threshold or decoding.path_threshold to a probability, such as 0.5"
            )
        self.loss_module = loss_module

    def pre_logits(self, feats: Features) -> Tensor:
        """Return the cells that the decoder attends to, shape (B, L, D)."""
        return as_grid(feats, self.in_channels, self.drop_class_token)[0]

    def forward(self, feats: Features) -> Tensor:
        """Return the logits (B, T, C + 1) of the rollout that prediction reads."""
        grid = self.pre_logits(feats)
        return decode(self.decoder, grid, self.max_steps, self.decoding)[0].logits

    # torch.compile would unroll the decoder again for every number of labels.
    @torch.compiler.disable
    def loss(self, feats: Features, data_samples: list[DataSample]) -> dict:
        """Return the losses of a batch by their names.

        Args:
            feats: the backbone's features.
            data_samples: B samples with `gt_label`; `gt_score`, where there is one, must be its
                multi-hot form.

        Raises:
            ValueError: a sample has no `gt_label` or a soft one, or its labels do not fit.
        """
        labels = training_labels(data_samples, self.max_steps)
        grid = self.decoder.encode(self.pre_logits(feats))
        start = self.decoder.training_grid(grid, labels)
        losses = self.loss_module.forward_train(self.decoder, start, labels, self.max_steps)
        weight = self.decoder.sequence_weight
        losses = {name: weight * loss for name, loss in losses.items()}
        return {**losses, **self.decoder.auxiliary_loss(grid, labels)}

    def predict(
        self, feats: Features, data_samples: list[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Return the label sets of a batch.

        Args:
            feats: the backbone's features.
            data_samples: samples to write into, with known labels if they have any; None, or None
                in places, makes new ones.

        Raises:
            ValueError: more labels are given than can be emitted, or `score='beam'` is set without
                beam search.
        """
        self._check_score()
        grid, layout = as_grid(feats, self.in_channels, self.drop_class_token)
        grid = self.decoder.encode(grid)
        prompt = read_prompt(data_samples, self.num_classes, grid.device)
        rollout, beams = decode(
            self.decoder, grid, self.max_steps, self.decoding, self.return_attention, prompt
        )
        emission = self.read_rollout(rollout, grid, None if prompt is None else prompt.num_given)
        if self.score == "beam" and beams is not None:
            emission = emission._replace(scores=beams.marginals(self.num_classes))
        maps = None
        if rollout.attention is not None:
            maps = rollout.attention.float().unflatten(2, layout)  # (B, T, h, w) or (B, T, L)
        end = None if self.decoding.has_sigmoids else end_probability(emission)
        return mask_known_labels(write_samples(emission, maps, data_samples, end))

    def read_rollout(
        self, rollout: Rollout, grid: Tensor, num_given: Tensor | None = None
    ) -> Emission:
        """Read label sets and scores from a rollout on encoded cells, as `decoding` does."""
        logits = rollout.logits
        if self.loss_module.masks_emitted:
            logits = mask_emitted(logits, rollout.tokens)
        sigmoids = self.decoding.has_sigmoids
        emission = read_rollout(logits, rollout.tokens, self.score, sigmoids, num_given)
        if self.score == "own":
            emission = emission._replace(scores=self.decoder.class_scores(grid))
        return emission

    def _check_score(self) -> None:
        if self.score == "beam" and self.decoding.beam_width == 1:
            raise ValueError(
                "score='beam' needs several hypotheses, but greedy decoding gives one; set "
                "decoding=dict(beam_width=4) or higher"
            )
        if self.score == "own" and self.decoder.score != "own":
            raise ValueError(
                f"score='own' needs a decoder that scores classes, and this is a "
                f"{type(self.decoder).__name__}; set score='max', or the decoder to ClassQueryLSTM"
            )
