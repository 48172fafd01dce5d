import pytest

from mmorderless.labels.vocabulary import Vocabulary


def test_tokens_of_ten_classes():
    vocabulary = Vocabulary(10)
    assert (vocabulary.end, vocabulary.start) == (10, 11)
    assert (vocabulary.num_outputs, vocabulary.num_inputs) == (11, 12)


def test_no_class_is_an_error():
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        Vocabulary(0)
