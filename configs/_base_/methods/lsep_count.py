"""LSEP with the number of labels as the decision: the ranking loss of `lsep`, and a count.

Yuncheng Li, Yale Song, Jiebo Luo: "Improving Pairwise Ranking for Multi-label Image
Classification", CVPR 2017. Published numbers, what is faithful and what is not: see `lsep.py`.

The count is a softmax over 0 … 4, where more labels count as 4. Not verified: that the largest
count is 4, as on COCO and NUS-WIDE. Not faithful: a count of 0, for images without labels.
"""

_base_ = ["lsep.py"]
model = dict(
    head=dict(
        decision=dict(_delete_=True, type="CountDecision", widths=(100, 10), max_count=4),
    )
)
