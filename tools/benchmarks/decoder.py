"""The decoder: training (forward and backward) and prediction, time and memory.

Gradients reach the feature map, which is as a backbone leaves it, (B, D, L). Training decodes the
steps that a loss over the labels counts; the reference decodes all. In prediction every image
emits END after its number of labels (see `batches.make_it_count`).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from mmorderless.models.decoders.attention_rnn import AttentionLSTM
from mmorderless.models.losses.cross_entropy import sequence_cross_entropy

from .batches import fixed_tokens, make_it_count, random_labels
from .label_counts import label_counts
from .memory import peak_memory
from .plain_decoder import PlainDecoder
from .report import Row, Target
from .settings import Settings
from .timing import alternate

LEAST_GAIN_TRAINING = 15
MOST_MEMORY = 1 / 4
LEAST_GAIN_PREDICTION = 8
MANY_CLASSES, MOST_COST_OF_CLASSES = 10_000, 3


@dataclass(frozen=True)
class Sizes:
    """Letters as in `models.decoder`; max_steps is what the reference always decodes."""

    batch: int = 32
    cells: int = 81
    channels: int = 2048
    hidden: int = 512
    attention: int = 512
    embed: int = 256
    classes: int = 80
    max_steps: int = 20

    def letters(self) -> dict[str, int]:
        """The sizes by their letter."""
        names = ("B", "L", "D", "H", "A", "E", "C")
        return dict(zip(names, asdict(self).values()))


QUICK = Sizes(4, 9, 16, 8, 8, 8, 20, 20)


class DecoderBatch:
    """A decoder with random weights, features and labels, and what is timed with them.

    Args:
        sizes: of the decoder and the batch.
        counts: n_i.
        settings: device and type.
        dropout: while training.
    """

    def __init__(
        self, sizes: Sizes, counts: Sequence[int], settings: Settings, dropout: float = 0.5
    ) -> None:
        torch.manual_seed(0)
        self.settings = settings
        self.max_steps = sizes.max_steps
        self.counts = list(counts)
        decoder = AttentionLSTM(
            sizes.classes, sizes.channels, sizes.hidden, sizes.embed, sizes.attention, dropout
        )
        self.decoder = decoder.to(settings.device)
        self.plain = PlainDecoder(self.decoder)
        self.features = torch.randn(len(counts), sizes.channels, sizes.cells).relu()
        self.features = self.features.to(settings.device)  # (B, D, L)
        labels = random_labels(counts, sizes.classes)
        self.tokens = fixed_tokens(labels, sizes.classes).to(settings.device)  # (B, T)

    def for_training(self) -> "DecoderBatch":
        """Switch to training mode."""
        self.decoder.train()
        self.features.requires_grad_()
        return self

    def for_prediction(self) -> "DecoderBatch":
        """Switch to evaluation mode, and let every image end after its labels."""
        self.decoder.eval()
        make_it_count(self.decoder, self.features, self.counts)
        return self

    def train_ours(self) -> Tensor:
        """Forward and backward; returns the counted logits (B, T, C + 1)."""
        lengths = [n + 1 for n in self.counts]
        return self._train(lambda grid: self.decoder.rollout_counted(grid, lengths).logits)

    def train_plain(self) -> Tensor:
        """The same with the reference."""
        return self._train(lambda grid: self.plain.rollout(grid, self.max_steps)[0])

    def _train(self, rollout: Callable[[Tensor], Tensor]) -> Tensor:
        self.decoder.zero_grad(set_to_none=True)
        self.features.grad = None
        with self.settings.autocast():
            logits = rollout(self.features.transpose(1, 2))[:, : self.tokens.shape[1]]
        sequence_cross_entropy(logits, self.tokens).backward()
        return logits.detach()

    @torch.no_grad()
    def predict_ours(self) -> Tensor:
        """Tokens until every image has emitted END, shape (B, T)."""
        with self.settings.autocast():
            grid = self.features.transpose(1, 2)
            return self.decoder.rollout(grid, self.max_steps, until_end=True).tokens

    @torch.no_grad()
    def predict_plain(self) -> Tensor:
        """Tokens of all steps, shape (B, max_steps)."""
        with self.settings.autocast():
            return self.plain.rollout(self.features.transpose(1, 2), self.max_steps)[1]

    def gradients(self) -> dict[str, Tensor]:
        """Gradients by the parameter's name, and that of the features."""
        parameters = dict(self.decoder.named_parameters())
        parameters["features"] = self.features
        return {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None}


def check_training(sizes: Sizes, counts: Sequence[int], settings: Settings) -> None:
    """Check that ours and the reference agree without dropout, in fp32.

    Compared are the logits of the counted steps and the gradients of the features and of every
    weight.

    Raises:
        AssertionError: they do not agree.
    """
    batch = DecoderBatch(sizes, counts, replace(settings, dtype="fp32"), dropout=0).for_training()
    results = []
    for train in (batch.train_ours, batch.train_plain):
        logits = train()
        counted = logits[batch.tokens >= 0]
        results.append({"logits": counted, **batch.gradients()})
    ours, reference = results
    assert ours.keys() == reference.keys()
    for name, expected in reference.items():
        largest = float(expected.abs().max())
        torch.testing.assert_close(
            ours[name], expected, rtol=0, atol=1e-3 * largest, msg=lambda m, n=name: f"{n}: {m}"
        )


def check_prediction(batch: DecoderBatch) -> None:
    """Check that ours and the reference emit the same up to END, which comes after n_i labels.

    Raises:
        AssertionError: they do not.
    """
    end = batch.decoder.vocabulary.end
    ours, reference = batch.predict_ours(), batch.predict_plain()
    for i, n in enumerate(batch.counts):
        emitted = ours[i, : n + 1].tolist()
        ends_there = emitted.count(end) == 1 and emitted[-1] == end and len(emitted) == n + 1
        assert ends_there, f"image {i} does not end after {n} labels: {emitted}"
        expected = reference[i, : n + 1].tolist()
        # In bf16 the order of sums decides between close logits.
        if batch.settings.dtype == "fp32":
            assert emitted == expected, f"image {i}: {emitted} and {expected} differ"


def one_training_step(
    device: torch.device, dtype: str, which: str, sizes: dict[str, int]
) -> Callable[[], Tensor]:
    """What `peak_memory` measures: a step of `train_ours` or `train_plain`."""
    made = Sizes(**sizes)
    batch = DecoderBatch(made, label_counts(made.batch), Settings(device, dtype)).for_training()
    return getattr(batch, which)


def run(settings: Settings) -> list[Row]:
    """Measure the decoder."""
    sizes = QUICK if settings.quick else Sizes()
    sizes = replace(sizes, batch=settings.batch or sizes.batch)
    counts = label_counts(sizes.batch)
    check_training(sizes, counts, settings)
    shape = {**sizes.letters(), "T": max(counts) + 1}
    device, repeats = settings.device, settings.repeats

    training = DecoderBatch(sizes, counts, settings).for_training()
    time = alternate({"ours": training.train_ours, "plain": training.train_plain}, device, repeats)
    rows = [
        Row(
            "decoder, training (forward and backward)",
            shape,
            "ms",
            time["ours"],
            time["plain"],
            Target(LEAST_GAIN_TRAINING, "gain"),
        )
    ]
    memory = [
        peak_memory(
            f"{__name__}:one_training_step",
            device,
            dtype=settings.dtype,
            which=which,
            sizes=asdict(sizes),
        )
        for which in ("train_ours", "train_plain")
    ]
    rows.append(
        Row("decoder, training: peak memory", shape, "MB", *memory, Target(MOST_MEMORY, "cost"))
    )

    prediction = DecoderBatch(sizes, counts, settings).for_prediction()
    check_prediction(prediction)
    time = alternate(
        {"ours": prediction.predict_ours, "plain": prediction.predict_plain}, device, repeats
    )
    rows.append(
        Row(
            "decoder, prediction",
            shape,
            "ms",
            time["ours"],
            time["plain"],
            Target(LEAST_GAIN_PREDICTION, "gain"),
        )
    )

    many = replace(sizes, classes=MANY_CLASSES)
    training_of_many = DecoderBatch(many, counts, settings).for_training()
    prediction_of_many = DecoderBatch(many, counts, settings).for_prediction()
    time = alternate(
        {
            "training few": training.train_ours,
            "training many": training_of_many.train_ours,
            "prediction few": prediction.predict_ours,
            "prediction many": prediction_of_many.predict_ours,
        },
        device,
        repeats,
    )
    rows += [
        Row(
            f"decoder, {mode}: a step at C = {many.classes:,} against C = {sizes.classes}",
            {**shape, "C": many.classes},
            "ms/step",
            [sample / shape["T"] for sample in time[f"{mode} many"]],
            [sample / shape["T"] for sample in time[f"{mode} few"]],
            Target(MOST_COST_OF_CLASSES, "cost"),
        )
        for mode in ("training", "prediction")
    ]
    return rows
