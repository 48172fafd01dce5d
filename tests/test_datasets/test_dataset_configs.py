import pytest
from mmengine.config import Config
from mmpretrain.registry import DATASETS

import mmorderless.datasets  # noqa: F401  (registers)


@pytest.mark.parametrize("name", ["coco", "digits", "photos"])
def test_configs_use_the_hosts_grammar(name, repository):
    config = Config.fromfile(repository / "configs" / "_base_" / "datasets" / f"{name}.py")
    for split in ("train", "val", "test"):
        dataset = {**config[f"{split}_dataloader"].dataset, "lazy_init": True}
        assert len(DATASETS.build(dataset).pipeline.transforms) >= 2
    assert config.val_dataloader == config.test_dataloader
    assert config.val_evaluator == config.test_evaluator == {"type": "LabelSetMetric"}
