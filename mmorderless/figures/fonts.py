"""Choose fonts that have the characters of class names."""

import unicodedata
import warnings
from collections.abc import Collection, Iterable, Sequence
from functools import cache

import matplotlib
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font

PLACEHOLDER_FONT = "Last Resort"  # matplotlib's font of boxes for missing characters


def drawable_names(names: Sequence[str], numbers: Iterable[int] | None = None) -> list[str]:
    """Return class names as a figure can show them.

    An installed font that has the characters which the configured fonts lack is added to
    `rcParams["font.family"]`, for all later figures of the process. A name with a character that no
    font has becomes the class's number, and a warning says so.

    Args:
        names: class names.
        numbers: class index of each name; None counts from 0.
    """
    lacking = add_fonts(set().union(*names))
    if not lacking:
        return list(names)
    shown = "".join(sorted(lacking))[:10].encode("utf-8", "backslashreplace").decode()
    warnings.warn(
        f"no installed font has the characters {shown!r} of class names, so that figures show the "
        "numbers of these classes; install fonts such as Debian's fonts-noto-core and "
        "fonts-noto-cjk",
        stacklevel=1,  # from one place, so that it is shown once
    )
    return [
        str(number) if lacking.intersection(name) else name
        for number, name in zip(range(len(names)) if numbers is None else numbers, names)
    ]


def add_fonts(characters: Collection[str]) -> set[str]:
    """Add fonts that have the characters; return the characters that no installed font has."""
    families: list[str] = list(matplotlib.rcParams["font.family"])
    lacking = {c for c in characters if not c.isascii() and unicodedata.category(c) != "Cf"}
    for family in families:
        lacking -= characters_of(findfont(FontProperties(family=[family])))
    regular = [
        font
        for font in fontManager.ttflist
        if lacking and font.style == "normal" and not font.name.startswith(PLACEHOLDER_FONT)
    ]
    while lacking:
        best = max(regular, key=lambda font: len(lacking & characters_of(font.fname)))
        if not lacking & characters_of(best.fname):
            break
        families.append(best.name)
        lacking -= characters_of(best.fname)
    matplotlib.rcParams["font.family"] = families
    return lacking


@cache
def characters_of(file: str) -> frozenset[str]:
    """Return the characters that a font can draw; none for a damaged or a bitmap font."""
    try:
        font = FT2Font(file)
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
