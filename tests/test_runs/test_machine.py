import json
import time

import torch

from mmorderless.runs.machine import Marks, describe_machine

CPU = torch.device("cpu")


def test_marks_are_in_milliseconds():
    marks = Marks(CPU)
    marks.mark("start")
    time.sleep(0.01)
    marks.mark("end")
    assert marks.between("start", "end") >= 10
    assert marks.between("end", "start") == -marks.between("start", "end")


def test_the_machine_is_described_in_json():
    machine = json.loads(json.dumps(describe_machine(CPU, "fp32"), allow_nan=False))
    assert machine["threads"] == torch.get_num_threads()
    assert torch.__version__.startswith(machine["versions"]["torch"])
