"""Names are drawn with a font that has their characters, or as numbers; never as boxes."""

import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.font_manager import FontProperties, findfont, fontManager

from mmorderless.figures.fonts import characters_of, drawable_names
from mmorderless.figures.label_sets import annotated_image, label_at_step_figure
from mmorderless.figures.style import figure_to_rgb

CAT = "猫"
PICTURE = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture(autouse=True)
def own_fonts(monkeypatch):
    """The fonts that matplotlib brings, whatever is installed."""
    folder = matplotlib.get_data_path()
    fonts = [font for font in fontManager.ttflist if font.fname.startswith(folder)]
    monkeypatch.setattr(fontManager, "ttflist", fonts)
    with matplotlib.rc_context():
        yield


def test_names_that_the_font_has_stay():
    families = matplotlib.rcParams["font.family"]
    names = ["cat", "Löwe", "кот", "قطة", "a\u200db"]
    assert drawable_names(names) == names
    assert drawable_names([]) == []
    assert matplotlib.rcParams["font.family"] == families


def test_a_font_that_has_the_characters_is_added():
    first = findfont(FontProperties(family=matplotlib.rcParams["font.family"]))
    stix = findfont(FontProperties(family=["STIXGeneral"]))
    name = "".join(sorted(c for c in characters_of(stix) - characters_of(first) if c.isalpha())[:3])
    assert len(name) == 3
    assert drawable_names([name, "cat"]) == [name, "cat"]
    added = findfont(FontProperties(family=[matplotlib.rcParams["font.family"][-1]]))
    assert characters_of(added).issuperset(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns about a missing glyph
        figure_to_rgb(annotated_image(PICTURE, [name, "cat"], [0.5, 0.5]))


@pytest.mark.parametrize("name", [CAT, "แมว", "बिल्ली", "caf\udce9"])
def test_a_name_that_no_font_has_becomes_its_number(name):
    with pytest.warns(UserWarning, match="numbers of these classes; install .* fonts-noto-cjk"):
        assert drawable_names(["dog", name, "cat"]) == ["dog", "1", "cat"]
    with pytest.warns(UserWarning, match="no installed font has the characters"):
        assert drawable_names([name, "dog"], [7, 5]) == ["7", "dog"]


def test_figures_of_classes_show_the_number():
    with pytest.warns(UserWarning, match=f"the characters '{CAT}' of class names"):
        figure = label_at_step_figure(np.ones((1, 2)), ["dog", CAT])
    ticks = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert ticks == ["dog", "1"]
