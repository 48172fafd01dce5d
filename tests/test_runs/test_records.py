from mmengine.config import Config

from mmorderless.runs.launch import TrainingOptions
from mmorderless.runs.records import training_settings


def test_only_options_on_which_a_result_depends_are_compared():
    recorded = training_settings(Config(), TrainingOptions("config.py"))["options"]
    assert recorded.keys() == {"amp", "no_validate", "auto_scale_lr"}
