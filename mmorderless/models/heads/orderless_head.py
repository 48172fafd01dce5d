"""The head that turns an mmpretrain classifier into a generator of label sets."""

from inspect import signature
from typing import Optional, Union

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.decoding.emission import read_rollout
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.search import decode
from mmorderless.models.heads.data_samples import training_labels, write_samples
from mmorderless.models.heads.features import as_grid
from mmorderless.models.losses.aligned import FixedOrderLoss, loss_of
from mmorderless.models.losses.cross_entropy import FEEDS

SCORES = ("max", "first", "beam")
NO_BEAMS = (
    "score='beam' needs hypotheses, and greedy decoding has one; set decoding=dict(beam_width=4), "
    "or more"
)
Features = Union[Tensor, tuple[Tensor, ...], list[Tensor]]


@MODELS.register_module()
class OrderlessRNNHead(BaseModule):
    """A decoder, by default the attention LSTM, that emits an image's labels one by one until END.

    Predictions carry `pred_label` (distinct labels in the order of emission), `pred_score` (see
    `score`), `sequence` (the labels as emitted, repeats included) and `sequence_score` (their
    probabilities); with `return_attention`, also `attention` (steps, h, w), or (steps, L) for
    tokens. `decoding` and `score` are attributes that may be set at any time.

    Args:
        num_classes: C.
        in_channels: channels D of the backbone's last map or tokens.
        max_steps: most steps of a rollout; END counts as one.
        strategy: `pla`, `mla`, `frequent_first`, `rare_first`, `dictionary` or `random`; `pla`
            when neither this nor `loss` is given.
        feed: what training feeds back: `own`, the model's arg max, as the paper does for every
            strategy; or `target`, the true label of the step before (teacher forcing), which only
            fixed orders know in advance.
        loss: config of a loss over logits (B, T, C + 1) and label sets, instead of a strategy.
        hidden_size: LSTM size H.
        embed_size: size E of the label embeddings.
        attention_size: size A of the attention; None switches it off.
        dropout: probability of dropping an entry of the attended cells while training.
        decoder: config of another decoder than `AttentionLSTM`; it is built with the sizes above
            and its own options.
        decoding: fields of `Decoding`: beam width, no repeats, number of labels, END bias.
        score: what `pred_score` is: per class the largest probability that a step up to END gave
            it (`max`), its probability when it was first emitted (`first`), or its share of a
            beam's hypotheses (`beam`).
        drop_class_token: whether the first token of (B, L, D) features is a class token.
        return_attention: whether predictions carry the attention weights.
        init_cfg: initialisation, as everywhere in mmengine.

    Raises:
        ValueError: the strategy, the feed or the score is unknown, both `strategy` and `loss` are
            given, the target is fed without a fixed order, beams are to score without any, or a
            size is out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        max_steps: int,
        strategy: Optional[str] = None,
        loss: Optional[dict] = None,
        feed: str = "own",
        hidden_size: int = 512,
        embed_size: int = 256,
        attention_size: Optional[int] = 512,
        dropout: float = 0.5,
        decoder: Optional[dict] = None,
        decoding: Optional[dict] = None,
        score: str = "max",
        drop_class_token: bool = False,
        return_attention: bool = False,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if strategy is not None and loss is not None:
            raise ValueError(f"give either strategy={strategy!r} or loss={loss}, not both")
        if max_steps < 2:
            raise ValueError(f"max_steps must be at least 2 (a label and END), got {max_steps}")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.max_steps = max_steps
        self.drop_class_token = drop_class_token
        self.return_attention = return_attention
        self.decoder: LabelDecoder = build_decoder(
            decoder,
            num_classes,
            in_channels,
            max_steps,
            hidden_size,
            embed_size,
            attention_size,
            dropout,
        )
        self.decoding = Decoding(**(decoding or {}))
        self.decoding.check_fits(num_classes, max_steps)
        if score not in SCORES:
            raise ValueError(f"unknown score {score!r}; choose one of {', '.join(SCORES)}")
        if score == "beam" and self.decoding.beam_width == 1:
            raise ValueError(NO_BEAMS)
        self.score = score
        if feed not in FEEDS:
            raise ValueError(f"unknown feed {feed!r}; choose one of {', '.join(FEEDS)}")
        if loss is None:
            loss = loss_of("pla" if strategy is None else strategy)
        self.loss_module: nn.Module = MODELS.build(loss)
        if feed == "target":
            if not isinstance(self.loss_module, FixedOrderLoss):
                raise ValueError(
                    f"feed='target' needs a fixed order, which {type(self.loss_module).__name__} "
                    "does not have: it aligns the labels to the prediction; set feed='own'"
                )
            self.loss_module.feed = feed

    def pre_logits(self, feats: Features) -> Tensor:
        """Cells that the decoder attends to, shape (B, L, D)."""
        return as_grid(feats, self.in_channels, self.drop_class_token)[0]

    def forward(self, feats: Features) -> Tensor:
        """Logits (B, T, C + 1) of a rollout that stops when every image has emitted END."""
        return self.decoder.rollout(self.pre_logits(feats), self.max_steps, until_end=True).logits

    # torch.compile would trace this anew for every number of labels that an image can have.
    @torch.compiler.disable(recursive=False)
    def loss(self, feats: Features, data_samples: list[DataSample]) -> dict:
        """Loss of a batch.

        Args:
            feats: the backbone's features.
            data_samples: B samples with `gt_label`; `gt_score`, where there is one, must be its
                multi-hot form.

        Returns:
            The losses by their names.

        Raises:
            ValueError: a sample has no `gt_label` or a soft one, or its labels do not fit.
        """
        labels, targets = training_labels(data_samples, self.max_steps)
        grid = self.pre_logits(feats)
        losses = self.loss_module.learn(self.decoder, grid, labels, targets, self.max_steps)
        return {**losses, **self.decoder.auxiliary_loss(grid, labels)}

    def predict(
        self, feats: Features, data_samples: Optional[list[Optional[DataSample]]] = None
    ) -> list[DataSample]:
        """Label sets of a batch.

        Args:
            feats: the backbone's features.
            data_samples: samples to write into; None, or None in places, makes new ones.
        """
        grid, layout = as_grid(feats, self.in_channels, self.drop_class_token)
        rollout, beams = decode(
            self.decoder, grid, self.max_steps, self.decoding, self.return_attention
        )
        emission = read_rollout(rollout.logits, rollout.tokens, self.score)
        if self.score == "beam":
            if beams is None:
                raise ValueError(NO_BEAMS)
            emission = emission._replace(scores=beams.marginals(self.num_classes))
        maps = None
        if rollout.attention is not None:
            maps = rollout.attention.float().unflatten(2, layout)  # (B, T, h, w) or (B, T, L)
        return write_samples(emission, maps, data_samples)


def build_decoder(
    decoder: Optional[dict],
    num_classes: int,
    in_channels: int,
    max_steps: int,
    hidden_size: int,
    embed_size: int,
    attention_size: Optional[int],
    dropout: float,
) -> LabelDecoder:
    """Build a decoder of a head's sizes.

    One that has room for a limited number of steps (`max_steps` in its signature) gets at least
    the head's.

    Args:
        decoder: its type and own options; None is `AttentionLSTM`.
        num_classes: C.
        in_channels: D.
        max_steps: most steps of a rollout; END counts as one.
        hidden_size: H.
        embed_size: E.
        attention_size: A; None is without attention.
        dropout: of the attended cells.
    """
    sizes = dict(
        type="AttentionLSTM",
        num_classes=num_classes,
        in_channels=in_channels,
        hidden_size=hidden_size,
        embed_size=embed_size,
        attention_size=attention_size,
        dropout=dropout,
    )
    made = {**sizes, **(decoder or {})}
    kind = MODELS.get(made["type"]) if isinstance(made["type"], str) else made["type"]
    if kind is not None and "max_steps" in (options := signature(kind).parameters):
        made.setdefault("max_steps", max(max_steps, options["max_steps"].default))
    return MODELS.build(made)
