import numpy as np
from mmpretrain.apis import ImageClassificationInferencer

from mmorderless import read_config


def test_inferencer_of_mmpretrain_runs_on_our_configs(repository):
    """It loads images itself, and removes only the transform LoadImageFromFile."""
    cfg = read_config(str(repository / "configs/digits/pla_digits.py"))
    digits = [str(digit) for digit in range(10)]
    inferencer = ImageClassificationInferencer(cfg, pretrained=False, device="cpu", classes=digits)
    (result,) = inferencer(np.zeros((40, 50, 3), np.uint8))
    assert result["pred_scores"].shape == (10,)
    assert result["pred_class"] == digits[result["pred_scores"].argmax()]
