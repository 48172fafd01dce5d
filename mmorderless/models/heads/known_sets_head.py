"""Multi-label head with a joint distribution over label sets, on class queries."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmorderless.labels.label_lists import Labels, label_matrix
from mmorderless.models.class_queries import QueriedClasses
from mmorderless.models.decoding.emission import Emission
from mmorderless.models.heads.class_query_head import ClassQueryHead
from mmorderless.models.heads.data_samples import multi_hot_labels, write_samples
from mmorderless.models.heads.features import Features, as_grid
from mmorderless.models.heads.known_labels import read_known_labels
from mmorderless.models.training_labels import NeedsTrainingLabels
from mmorderless.sets import SetDistribution, leave_one_out

RATE = 10
"""How many times faster than the other weights λ, γ, ρ and τ learn."""

EMBEDDING = 128
"""R, the size of the embeddings of images and sets."""


@MODELS.register_module()
class KnownSetsHead(NeedsTrainingLabels, ClassQueryHead):
    """A distribution over exact and noisy copies of the training set's label sets.

    U (K, C) are the distinct label sets of the training images and n_k how many images have each;
    z (C,) and g (G,) are the logits and hidden units of `ClassQueries`. W_2, b_2 and W_3 start at
    0, λ and τ at 1, γ at 0.5, ρ at 0; R = 128 and π = σ(ρ).

        s   = z + W_2 g + b_2
        φ_k = ReLU(W_4 U_k + b_4)                                            (R,)
        w   = softmax_k(λ z·U_k + φ_k·(W_3 g) + γ log n_k)
        P(S | x) = Σ_k w_k (π [S = U_k] + (1 − π) Π_c Bernoulli(S_c; σ(s_c + τ_c (2 U_kc − 1))))
        loss = −log P_loo(Y | x) / C + μ · mean_c BCE(s_c, y_c)      keys `loss_set`, `loss_labels`

    P_loo counts an image's own set one time less (`leave_one_out`): else π would go to 1. λ, γ, ρ
    and τ are stored divided by 10, so that Adam moves them ten times as fast as other weights (SGD
    a hundred times). `SetDistribution` has the mathematics of prediction.

    Predictions carry `pred_label` and `sequence`, the set of least risk in the order of emission;
    `sequence_score`, the probability of each label given those before, and `end_score`, that there
    is no further one; `pred_score`, the marginals; with `return_attention` also `attention`
    (n, h, w), or (n, L) for tokens. Known labels of a data sample condition all of these; the given
    ones are in the set and first. `theta`, `beta` and `return_attention` may be set at any time.

    Measured on one thread at B = 32 without the trunk, in CPU time and memory (AMD EPYC):

        C = 80, K = 30,000     training step  51 ms,  64 MB     prediction  48 ms,  44 MB
        C = 81, K = 60,000                   103 ms, 127 MB                117 ms,  89 MB
        C = 80, K = 100,000                  207 ms, 212 MB                197 ms, 147 MB

    Args:
        num_classes: C.
        in_channels: channels D of the backbone's last map or tokens.
        theta: θ of `SetDistribution.choose`, which trades precision for recall like a threshold.
        beta: β there, how much the whole set counts.
        max_sets: with more distinct sets than this, those of a single image are left out.
        **kwargs: further arguments of `ClassQueryHead` but `thr` and `topk`; `loss` is that of s,
            and its `loss_weight` μ.

    Raises:
        ValueError: θ is not in (0, 1), or β is negative.
    """

    takes_known_labels = True
    label_buffers = ("known_sets", "set_counts")
    alternative = "choose another head"
    known_sets: Tensor | None
    set_counts: Tensor | None

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        theta: float = 0.4,
        beta: float = 1.0,
        max_sets: int = 100_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, thr=0.5, topk=None, **kwargs)
        if not (0 < theta < 1 and beta >= 0):
            raise ValueError(f"theta must be in (0, 1) and beta at least 0, got {theta} and {beta}")
        self.thr = None  # the risk rule decides
        self.num_classes = num_classes
        self.theta = theta
        self.beta = beta
        self.max_sets = max_sets
        hidden = self.queries.hidden.out_features
        self.noisy = nn.Linear(hidden, num_classes)
        nn.init.zeros_(self.noisy.bias)
        self.image_embedding = nn.Linear(hidden, EMBEDDING, bias=False)
        self.set_embedding = nn.Sequential(nn.Linear(num_classes, EMBEDDING), nn.ReLU())
        for layer in (self.noisy, self.image_embedding):
            nn.init.zeros_(layer.weight)
        self.scalars = nn.Parameter(torch.tensor([1.0, 0.5, 0.0]) / RATE)
        self.ties = nn.Parameter(torch.ones(num_classes) / RATE)
        # float16 is compact, and exact in sums over 2,048 processes.
        self.register_buffer("known_sets", None)  # (K, C)
        self.register_buffer("set_counts", None)  # (K,)

    @property
    def needs_training_labels(self) -> bool:
        """True: the sets are those of a training set."""
        return True

    def set_label_sets(self, classes: Sequence[str], label_sets: Sequence[Labels]) -> None:
        """Take the distinct label sets, the most frequent first, and how many images have each.

        Raises:
            ValueError: there are more than `max_sets`, and no two images have the same.
        """
        counts = Counter(tuple(sorted({int(label) for label in labels})) for labels in label_sets)
        found = sorted(counts, key=lambda labels: (-counts[labels], labels))
        shared = sum(number for number in counts.values() if number > 1)
        text = (
            f"{len(found)} distinct label sets in {len(label_sets)} training images, of which "
            f"{100 * shared / max(len(label_sets), 1):.1f} % share theirs with another"
        )
        if len(found) > self.max_sets:
            kept = [labels for labels in found if counts[labels] > 1]
            text += f"; {len(found) - len(kept)} that occur once are left out"
            text += f" (more than max_sets={self.max_sets})"
            found = kept
        if not found:
            raise ValueError(f"{text}, and none is left; raise max_sets or {self.alternative}")
        print_log(f"{type(self).__name__}: {text}", logger="current")
        self.known_sets = torch.from_numpy(label_matrix(found, len(classes))).to(torch.float16)
        self.set_counts = torch.tensor([counts[labels] for labels in found])

    def parts(self, found: QueriedClasses) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return U (K, C), stored by columns, n (K,), the scores (B, K), and s (B, C); float32."""
        if self.known_sets is None or self.set_counts is None:
            raise self.missing_labels("the set of known label sets")
        sets = self.known_sets.T.to(torch.float32, memory_format=torch.contiguous_format).T
        z, hidden = found.logits.float(), found.hidden.float()
        with torch.autocast(z.device.type, enabled=False):
            scores = RATE * self.scalars[0] * z @ sets.T
            scores = scores + self.image_embedding(hidden) @ self.set_embedding(sets).T
            return sets, self.set_counts.float(), scores, z + self.noisy(hidden)

    def distribution(self, found: QueriedClasses) -> SetDistribution:
        """Return the distribution over label sets without known labels."""
        sets, counts, scores, logits = self.parts(found)
        _, count_weight, share = RATE * self.scalars
        set_logits = scores + count_weight * counts.log()
        return SetDistribution.mixture(sets, set_logits, logits, RATE * self.ties, share)

    def forward(self, feats: Features) -> Tensor:
        """Return the logits of the marginals, shape (B, C)."""
        return self.distribution(self.queries(self.pre_logits(feats))).marginals.logit(eps=1e-6)

    def loss(self, feats: Features, data_samples: list[DataSample], **kwargs: Any) -> dict:
        """Return the losses of a batch by their names.

        Args:
            feats: the backbone's features.
            data_samples: B samples with `gt_label` or `gt_score`; soft labels are no known set.
            **kwargs: further arguments of the loss of s.
        """
        found = self.queries(self.pre_logits(feats))
        labels = multi_hot_labels(data_samples, self.num_classes).to(found.logits.device)
        sets, counts, scores, logits = self.parts(found)
        _, count_weight, share = RATE * self.scalars
        likelihood = leave_one_out(
            sets, counts, scores, count_weight, logits, RATE * self.ties, share, labels
        )
        return dict(
            loss_set=-likelihood.mean() / self.num_classes,
            loss_labels=self.loss_module(logits, labels, avg_factor=len(labels), **kwargs),
        )

    def predict(
        self, feats: Features, data_samples: list[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Return the label sets of a batch.

        Args:
            feats: the backbone's features.
            data_samples: samples to write into, with the `known_labels` that they carry; None, or
                None in places, makes new ones.
        """
        cells, layout = as_grid(feats, self.in_channels, self.drop_class_token)
        found = self.queries(cells)
        distribution = self.distribution(found)
        known = read_known_labels(data_samples, self.num_classes, cells.device)
        if known is not None:
            distribution = distribution.condition(known.given, known.excluded)
        tokens, probabilities, length, end = distribution.emit(
            distribution.choose(self.theta, self.beta)
        )
        is_step = torch.arange(tokens.shape[1], device=cells.device) < length[:, None]
        emission = Emission(tokens, probabilities, length, is_step, distribution.marginals)
        maps = None
        if self.return_attention:
            images = torch.arange(len(tokens), device=cells.device)[:, None]
            maps = found.attention[images, tokens].float().unflatten(2, layout)
        return write_samples(emission, maps, data_samples, end)
