"""The format of predictions.json."""

import json

import numpy as np

from mmorderless.inference.predictions import predictions_json


def test_document():
    result = {
        "image": "a/ü.jpg",
        "labels": [1],
        "names": ["bee"],
        "probabilities": [0.123456],
        "sequence": None,
        "sequence_probabilities": None,
        "scores": [0.00004, 1.0],
        "attention": np.full((1, 1, 2), 0.5, np.float32),
    }
    text = predictions_json([result, {"image": "b", "error": "gone"}], ["ant", "bee"], "w.pth")
    assert json.loads(text) == {
        "version": 1,
        "classes": ["ant", "bee"],
        "checkpoint": "w.pth",
        "images": [
            {
                "image": "a/ü.jpg",
                "labels": [1],
                "names": ["bee"],
                "probabilities": [0.1235],
                "sequence": None,
                "sequence_probabilities": None,
                "scores": [0.0, 1.0],
                "attention": [[[0.5, 0.5]]],
            },
            {"image": "b", "error": "gone"},
        ],
    }
    assert len(text.splitlines()) == 4


def test_no_images():
    assert json.loads(predictions_json([], ["ant"], "w.pth"))["images"] == []
