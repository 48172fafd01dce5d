import json

import numpy as np
from scipy.sparse import csr_array

from mmorderless.metrics.per_class import class_records, class_table


def test_sparse_arrays_give_the_same_records(sets):
    scores = np.random.default_rng(0).random(sets[0].shape)
    dense = class_records(range(7), *sets, scores)
    sparse = class_records(range(7), *map(csr_array, sets), scores)
    np.testing.assert_equal(sparse, dense)  # NaN equals NaN here


def test_labels_that_are_not_judged_are_left_out_of_ap_alone():
    truth = np.array([[True], [False], [False]])
    predicted, scores = np.ones((3, 1), bool), np.array([[0.5], [0.9], [0.1]])
    ignored = np.array([[False], [True], [False]])
    (judged,), (left_out,) = (
        class_records(["ant"], predicted, truth, scores, which) for which in (None, ignored)
    )
    assert (judged.pop("AP"), left_out.pop("AP")) == (50, 100)
    assert judged == left_out


NAMES = ["ant", "ant", 'a "b"\n\x1b[31mc', "猫", "bee"]


def test_odd_and_equal_names_keep_a_row_each():
    truth = np.array([[True, False, True, True, False]])
    predicted = np.array([[True, True, False, True, False]])
    records = class_records(NAMES, predicted, truth, np.ones((1, 5)))
    assert [record["class"] for record in records] == NAMES
    assert json.loads(json.dumps(records[:1])) == records[:1]
    assert class_table(records).splitlines() == [
        "precision    recall        F1        AP   support  class",
        '   100.00    100.00    100.00    100.00         1  "ant"',
        '     0.00      0.00      0.00       nan         0  "ant"',
        '     0.00      0.00      0.00    100.00         1  "a \\"b\\"\\n\\u001b[31mc"',
        '   100.00    100.00    100.00    100.00         1  "猫"',
        '     0.00      0.00      0.00       nan         0  "bee"',
    ]
