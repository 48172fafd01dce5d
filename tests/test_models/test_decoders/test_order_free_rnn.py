import torch

from mmorderless.models.decoders.order_free_rnn import OrderFreeRNN

B, L, D, C = 4, 6, 9, 5
START, END = C + 1, C


def make():
    torch.manual_seed(1)
    return OrderFreeRNN(C, D, hidden_size=8, attention_size=7, dropout=0.0)


def watch_inputs(decoder):
    """Return a list to which the LSTM's inputs will be appended."""
    inputs, recur = [], decoder.recur
    decoder.recur = lambda x, state: inputs.append(x) or recur(x, state)
    return inputs


def test_a_step_is_fed_the_probabilities_before_it_and_the_labels_emitted_so_far():
    decoder, grid = make(), torch.randn(B, L, D)
    inputs = watch_inputs(decoder)
    tokens = torch.tensor([[3, 1, END], [0, 0, 4], [END, END, END], [2, END, 2]])
    logits = decoder.rollout(grid, 4, choose=lambda t, _, images: tokens[images, min(t, 2)]).logits
    p = decoder.image_classifier.linear(grid.mean(1)).sigmoid()
    for t, x in enumerate(inputs):
        assert x.shape == (B, 2 * C + D)
        torch.testing.assert_close(x[:, :C], p)  # p_0 is the image-level classifier's
        emitted = [[float(c in row[:t]) for c in range(C)] for row in tokens.tolist()]
        assert x[:, C : 2 * C].tolist() == emitted
        p = logits[:, t, :C].sigmoid()


def test_order_of_emission_matters_only_through_the_probabilities():
    """No token is embedded: the same set of emitted labels is the same input."""
    decoder, grid = make(), torch.randn(1, L, D)
    assert not hasattr(decoder, "embedding")
    state = decoder.init_state(grid)
    twice = [decoder.step(torch.tensor([label]), state)[1] for label in (1, 3)]
    after = [
        decoder.step(torch.tensor([label]), state._replace(fed=(state.fed[0], first.fed[1])))[0]
        for first, label in zip(twice, (3, 1))
    ]
    torch.testing.assert_close(*after)


def test_without_attention_the_image_enters_by_state_and_probabilities():
    decoder = OrderFreeRNN(C, D, hidden_size=8, attention_size=None)
    assert not decoder.attends
    assert decoder.rollout(torch.randn(B, L, D), 3).logits.shape == (B, 3, C + 1)
