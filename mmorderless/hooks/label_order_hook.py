"""Give fixed-order losses what they must know of the training set."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..models.losses import FixedOrderLoss
from ..ordering import count_labels


@HOOKS.register_module()
class LabelOrderHook(Hook):
    """Count the training set's labels for frequent- and rare-first, and reseed the random order.

    Does nothing for a model without a `FixedOrderLoss`.
    """

    def before_train(self, runner: Runner) -> None:
        """Hand the class names and image counts of the training set to every loss.

        Raises:
            ValueError: the training set has no class names, or its labels are those of several
                tasks.
        """
        losses = fixed_order_losses(runner)
        if not losses:
            return
        dataset = runner.train_dataloader.dataset
        classes = dataset.metainfo.get("classes")
        if classes is None:
            raise ValueError(
                f"{type(dataset).__name__} has no class names to order labels by; give it "
                "metainfo=dict(classes=[...])"
            )
        label_sets = [dataset.get_data_info(i)["gt_label"] for i in range(len(dataset))]
        if label_sets and isinstance(label_sets[0], dict):
            raise ValueError(
                "the dataset holds labels of several tasks; give each FixedOrderLoss its classes "
                "and counts instead of using LabelOrderHook"
            )
        counts = count_labels(label_sets, len(classes))
        for loss in losses:
            loss.set_training_labels(classes, counts)

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the random order anew from the run's seed, the rank and the epoch."""
        for loss in fixed_order_losses(runner):
            loss.reseed(runner.seed or 0, runner.rank, runner.epoch)


def fixed_order_losses(runner: Runner) -> list[FixedOrderLoss]:
    """Every fixed-order loss inside the runner's model."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return [module for module in model.modules() if isinstance(module, FixedOrderLoss)]
