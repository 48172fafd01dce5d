"""The decoder: training (forward and backward) and prediction, time and memory.

Gradients reach the feature map, in a backbone's layout (B, D, L). Training decodes the steps that a
loss over the labels counts; the baseline decodes all. In prediction image i emits END after n_i
labels (see `batches.force_end_after`). The other decoders are measured in training, without a
baseline.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.losses.cross_entropy import sequence_cross_entropy

from .batches import fixed_tokens, force_end_after, random_labels
from .label_counts import label_counts
from .memory import peak_memory
from .plain_decoder import PlainDecoder
from .report import Row
from .settings import Settings
from .timing import alternate

MIN_SPEED_UP_TRAINING = 12
MIN_SPEED_UP_PREDICTION = 6
MIN_MEMORY_SAVING = 4
MANY_CLASSES, MIN_SPEED_UP_MANY_CLASSES = 10_000, 1 / 3
OTHER_DECODERS = ("AttentionGRU", "TransformerLabelDecoder")


@dataclass(frozen=True)
class Sizes:
    """Letters as in `models.decoders`; the baseline always decodes `max_steps` steps."""

    batch: int = 32
    cells: int = 81
    channels: int = 2048
    hidden: int = 512
    attention: int = 512
    embed: int = 256
    classes: int = 80
    max_steps: int = 20

    def letters(self) -> dict[str, int]:
        """Return the sizes by letter."""
        names = ("B", "L", "D", "H", "A", "E", "C")
        return dict(zip(names, asdict(self).values()))


QUICK = Sizes(4, 9, 16, 8, 8, 8, 20, 20)


class DecoderBatch:
    """A decoder with random weights, features and labels, and the calls to time.

    Args:
        sizes: of the decoder and the batch.
        counts: n_i.
        settings: device and type.
        dropout: probability of dropping an entry of the cells in training.
        decoder: type of the decoder. Prediction and the baseline need the attention LSTM.
    """

    def __init__(
        self,
        sizes: Sizes,
        counts: Sequence[int],
        settings: Settings,
        dropout: float = 0.5,
        decoder: str = "AttentionLSTM",
    ) -> None:
        torch.manual_seed(0)
        self.settings = settings
        self.max_steps = sizes.max_steps
        self.counts = list(counts)
        config = {
            "type": decoder,
            "num_classes": sizes.classes,
            "in_channels": sizes.channels,
            "hidden_size": sizes.hidden,
            "attention_size": sizes.attention,
            "embed_size": sizes.embed,
            "dropout": dropout,
        }
        self.loss_scale = 1.0
        """Factor on the loss, by which gradients are divided: small ones are 0 in float16."""
        self.decoder = MODELS.build(config).to(settings.device)
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
        """Switch to evaluation mode, and force END after each image's number of labels."""
        self.decoder.eval()
        force_end_after(self.decoder, self.features, self.counts)
        return self

    def train_ours(self, feed: Tensor | None = None) -> Tensor:
        """Run forward and backward; return the logits (B, T, C + 1).

        Args:
            feed: tokens to feed back instead of the emitted ones, shape (B, T).
        """
        lengths = [n + 1 for n in self.counts]
        return self._train(lambda grid: self.decoder.training_rollout(grid, lengths, feed).logits)

    def train_at_fixed_shape(self, feed: Tensor | None = None) -> Tensor:
        """Run forward and backward with the shapes of CUDA graphs, as `train_ours`."""
        lengths = [n + 1 for n in self.counts]
        return self._train(
            lambda grid: self.decoder.fixed_shape_rollout(grid, lengths, feed).logits
        )

    def train_plain(self, feed: Tensor | None = None) -> Tensor:
        """Run forward and backward of the baseline, as `train_ours`."""
        steps = self.max_steps if feed is None else feed.shape[1]
        return self._train(lambda grid: self.plain.rollout(grid, steps, feed)[0])

    def _train(self, rollout: Callable[[Tensor], Tensor]) -> Tensor:
        self.decoder.zero_grad(set_to_none=True)
        self.features.grad = None
        with self.settings.autocast():
            logits = rollout(self.features.transpose(1, 2))[:, : self.tokens.shape[1]]
        (self.loss_scale * sequence_cross_entropy(logits, self.tokens)).backward()
        return logits.detach()

    @torch.no_grad()
    def predict_ours(self) -> Tensor:
        """Decode until every image has emitted END; return the tokens (B, T)."""
        with self.settings.autocast():
            grid = self.features.transpose(1, 2)
            return self.decoder.rollout(grid, self.max_steps, until_end=True).tokens

    @torch.no_grad()
    def predict_plain(self) -> Tensor:
        """Decode all steps with the baseline; return the tokens (B, max_steps)."""
        with self.settings.autocast():
            return self.plain.rollout(self.features.transpose(1, 2), self.max_steps)[1]

    def gradients(self) -> dict[str, Tensor]:
        """Return the gradients of the parameters and of the features, by name."""
        parameters = dict(self.decoder.named_parameters())
        parameters["features"] = self.features
        gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
        return {name: gradient / self.loss_scale for name, gradient in gradients.items()}


def check_training(sizes: Sizes, counts: Sequence[int], settings: Settings) -> None:
    """Check that logits of counted steps and all gradients equal the baseline's.

    The check runs in fp32 without dropout.

    Raises:
        AssertionError: a tensor differs.
    """
    batch = DecoderBatch(sizes, counts, replace(settings, dtype="fp32"), dropout=0).for_training()
    results = []
    for train in (batch.train_ours, batch.train_plain):
        logits = train()
        counted = logits[batch.tokens >= 0]
        results.append({"logits": counted, **batch.gradients()})
    ours, baseline = results
    assert ours.keys() == baseline.keys()
    for name, expected in baseline.items():
        largest = float(expected.abs().max())
        torch.testing.assert_close(
            ours[name], expected, rtol=0, atol=1e-3 * largest, msg=lambda m, n=name: f"{n}: {m}"
        )


def check_prediction(batch: DecoderBatch) -> None:
    """Check that ours and the baseline emit the same tokens up to END, after n_i labels.

    Raises:
        AssertionError: an image's tokens differ, or END comes at another step.
    """
    end = batch.decoder.vocabulary.end
    ours, baseline = batch.predict_ours(), batch.predict_plain()
    for i, n in enumerate(batch.counts):
        emitted = ours[i, : n + 1].tolist()
        ends_there = emitted.count(end) == 1 and emitted[-1] == end and len(emitted) == n + 1
        assert ends_there, f"image {i} does not end after {n} labels: {emitted}"
        expected = baseline[i, : n + 1].tolist()
        # In bf16 the order of sums decides between close logits.
        if batch.settings.dtype == "fp32":
            assert emitted == expected, f"image {i}: {emitted} and {expected} differ"


def one_training_step(
    device: torch.device, dtype: str, which: str, sizes: dict[str, int]
) -> Callable[[], Tensor]:
    """Return a call for `peak_memory`: `train_ours` or `train_plain`."""
    made = Sizes(**sizes)
    batch = DecoderBatch(made, label_counts(made.batch), Settings(device, dtype)).for_training()
    return getattr(batch, which)


def run(settings: Settings) -> list[Row]:
    """Measure the decoders."""
    sizes = QUICK if settings.quick else Sizes()
    sizes = replace(sizes, batch=settings.batch or sizes.batch)
    counts = label_counts(sizes.batch)
    shape = {**sizes.letters(), "T": max(counts) + 1}
    training = DecoderBatch(sizes, counts, settings).for_training()
    prediction = DecoderBatch(sizes, counts, settings).for_prediction()
    check_training(sizes, counts, settings)
    check_prediction(prediction)
    speed_ups = {"training": MIN_SPEED_UP_TRAINING, "prediction": MIN_SPEED_UP_PREDICTION}
    calls = {
        "training": {"ours": training.train_ours, "plain": training.train_plain},
        "prediction": {"ours": prediction.predict_ours, "plain": prediction.predict_plain},
    }
    rows = []
    for mode, least in speed_ups.items():
        times = alternate(calls[mode], settings.repeats)
        rows.append(Row(f"decoder, {mode}", shape, "ms", *times.values(), at_least=least))
    memory = [
        peak_memory(
            f"{__name__}:one_training_step",
            settings.device,
            dtype=settings.dtype,
            which=which,
            sizes=asdict(sizes),
        )
        for which in ("train_ours", "train_plain")
    ]
    what = "decoder, training: peak memory"
    rows.append(Row(what, shape, "MB", *memory, at_least=MIN_MEMORY_SAVING))

    for name in OTHER_DECODERS:
        batch = DecoderBatch(sizes, counts, settings, decoder=name).for_training()
        times = alternate({"ours": batch.train_ours}, settings.repeats)
        rows.append(Row(f"{name}, training", shape, "ms", times["ours"]))

    many = replace(sizes, classes=MANY_CLASSES)
    training_of_many = DecoderBatch(many, counts, settings).for_training()
    prediction_of_many = DecoderBatch(many, counts, settings).for_prediction()
    calls = {
        "training": {"many": training_of_many.train_ours, "few": training.train_ours},
        "prediction": {"many": prediction_of_many.predict_ours, "few": prediction.predict_ours},
    }
    for mode in speed_ups:
        times = alternate(calls[mode], settings.repeats)
        steps = [[sample / shape["T"] for sample in samples] for samples in times.values()]
        what = f"decoder, {mode}: a step, against C = {sizes.classes}"
        setting, least = {**shape, "C": many.classes}, MIN_SPEED_UP_MANY_CLASSES
        rows.append(Row(what, setting, "ms/step", *steps, at_least=least))
    return rows
