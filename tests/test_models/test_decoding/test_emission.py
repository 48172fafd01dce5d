import torch

from mmorderless.models.decoding.emission import end_probability, read_rollout

END = 3


def rollout_of(tokens, height=4.0):
    """Logits whose arg max is the given tokens, with some noise below."""
    tokens = torch.tensor(tokens)
    logits = torch.rand(*tokens.shape, END + 1)
    return logits.scatter(2, tokens[:, :, None], height), tokens


def test_labels_before_end_first_occurrence_kept():
    logits, tokens = rollout_of([[2, 0, 2, END, 1], [END, 1, 1, 0, 0], [1, 1, 0, 2, 0]])
    emission = read_rollout(logits, tokens)
    assert emission.length.tolist() == [3, 0, 5]
    kept = [tokens[i][emission.is_new[i]].tolist() for i in range(3)]
    assert kept == [[2, 0], [], [1, 0, 2]]


def test_scores_are_the_largest_probability_up_to_and_including_end():
    logits, tokens = rollout_of([[2, END, 1, 1], [END, 0, 0, 0], [0, 1, 2, 0]])
    emission = read_rollout(logits, tokens)
    p = logits.softmax(2)
    for image, steps in enumerate([2, 1, 4]):
        expected = p[image, :steps, :END].max(0).values
        torch.testing.assert_close(emission.scores[image], expected)
    torch.testing.assert_close(emission.probabilities[0, 2], p[0, 2, 1])
    assert emission.scores[0, 1] < 0.5  # label 1 comes only after END


def test_steps_after_end_do_not_change_the_emission():
    logits, tokens = rollout_of([[1, END, 0, 0, 2]])
    long, short = read_rollout(logits, tokens), read_rollout(logits[:, :2], tokens[:, :2])
    assert torch.equal(long.scores, short.scores)
    assert torch.equal(long.length, short.length)
    assert torch.equal(long.is_new[:, :2], short.is_new)
    assert not long.is_new[:, 2:].any()


def test_half_precision_logits_give_float32_probabilities():
    logits, tokens = rollout_of([[0, END]])
    assert read_rollout(logits.bfloat16(), tokens).scores.dtype == torch.float32


def test_the_end_has_its_probability_after_the_labels():
    logits, tokens = rollout_of([[2, END, 1], [END, 0, 0], [1, 0, 2]])
    end = end_probability(read_rollout(logits, tokens))
    p = logits.softmax(2)[..., END]
    torch.testing.assert_close(end, torch.stack([p[0, 1], p[1, 0], torch.tensor(1.0)]))
