"""Plain post-processing: image by image, step by step."""

import torch
from torch import Tensor


def plain_predictions(logits: Tensor, tokens: Tensor) -> list[dict[str, Tensor]]:
    """Return the fields that `write_samples` puts into each image's data sample.

    Args:
        logits: shape (B, T, C + 1).
        tokens: arg max of each step, shape (B, T).
    """
    end = logits.shape[2] - 1
    predictions = []
    for i in range(len(logits)):
        labels: list[int] = []
        sequence: list[int] = []
        sequence_scores: list[float] = []
        scores = torch.zeros(end)
        for t in range(logits.shape[1]):
            p = logits[i, t].float().softmax(0).cpu()
            scores = torch.maximum(scores, p[:end])
            token = int(tokens[i, t])
            if token == end:
                break
            sequence.append(token)
            sequence_scores.append(float(p[token]))
            if token not in labels:
                labels.append(token)
        predictions.append(
            {
                "pred_label": torch.tensor(labels, dtype=torch.long),
                "pred_score": scores,
                "sequence": torch.tensor(sequence, dtype=torch.long),
                "sequence_score": torch.tensor(sequence_scores),
            }
        )
    return predictions
