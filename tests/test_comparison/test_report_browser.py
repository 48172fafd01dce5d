"""The report in a real browser (headless Chromium)."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER),
    reason="no browser found: Debian's packages chromium and chromium-driver are not installed",
)
# Nothing but the page: no sandbox (tests may run as root), no services of the browser's maker.
OPTIONS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def visit(chromium, report: Path) -> Callable[..., Any]:
    """Open the page afresh, at a width in pixels and an address."""

    def open_page(width: int = 1440, address: str = "") -> Any:
        size = dict(width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chromium.get("about:blank")
        chromium.get(report.as_uri() + address)
        return chromium

    return open_page


@pytest.fixture(scope="module")
def gallery(report: Path) -> dict[str, Any]:
    """What the page's script reads."""
    text = report.read_text(encoding="utf-8")
    return json.loads(text.split('id="data">')[1].split("</script>")[0])


def choose(driver: Any, name: str, text: str) -> None:
    select = Select(driver.find_element(By.ID, name))
    [value] = {o.get_attribute("value") for o in select.options if o.text.startswith(text)}
    select.select_by_value(value)


def shown_photos(driver: Any) -> list[int]:
    visible = "return [...document.querySelectorAll('.photo')].map((c) => c.checkVisibility())"
    return [photo for photo, is_shown in enumerate(driver.execute_script(visible)) if is_shown]


def address_of(driver: Any) -> dict[str, list[str]]:
    return parse_qs(driver.execute_script("return location.hash").partition("?")[2])


def column(driver: Any, place: int) -> list[float]:
    """A column of Table 2 as displayed, from top to bottom."""
    cells = driver.find_elements(By.CSS_SELECTOR, f"#table-1 tbody tr > :nth-child({place + 1})")
    return [float(cell.text.split()[0]) for cell in cells]


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_has_no_errors_and_asks_for_nothing(visit, width, report):
    driver = visit(width)
    assert [entry["message"] for entry in driver.get_log("browser")] == []
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
        and event["params"]["documentURL"] == report.as_uri()
    }
    assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_does_not_scroll_sideways(visit, width):
    driver = visit(width)
    driver.execute_script("for (const part of document.querySelectorAll('details')) part.open = 1")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    # A phone makes its window as wide as what it shows.
    assert driver.execute_script("return innerWidth") == width


def test_every_image_has_an_alternative_and_is_drawn(visit):
    driver = visit()
    images = driver.find_elements(By.TAG_NAME, "img")
    assert len(images) > 11
    assert all(image.get_attribute("alt") for image in images)
    drawn = "return [...document.images].every((i) => i.complete && i.naturalWidth > 0)"
    assert driver.execute_script(drawn)


def test_a_click_on_a_header_sorts(visit):
    driver = visit()
    before = column(driver, 3)
    header = driver.find_elements(By.CSS_SELECTOR, "#table-1 thead th")[3]
    assert header.get_attribute("aria-sort") == "none"
    header.find_element(By.TAG_NAME, "button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert column(driver, 3) == sorted(before, reverse=True) != before
    header.find_element(By.TAG_NAME, "button").send_keys(" ")
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(driver, 3) == sorted(before)
    others = driver.find_elements(By.CSS_SELECTOR, "#table-1 thead [aria-sort=none]")
    assert len(others) == 7


def test_what_is_missing_stays_last(visit):
    driver = visit()
    choose(driver, "point", "chosen for C-F1")
    header = driver.find_elements(By.CSS_SELECTOR, "#table-2 thead th")[1]
    for _ in range(2):
        header.find_element(By.TAG_NAME, "button").click()
        rows = driver.find_elements(By.CSS_SELECTOR, "#table-2 tbody tr")
        values = [row.find_elements(By.TAG_NAME, "td")[0].text for row in rows]
        assert [value == "–" for value in values] == sorted(value == "–" for value in values)


def test_one_operating_point_is_shown_at_a_time(visit):
    driver = visit()
    tables = [driver.find_element(By.ID, f"table-{i}") for i in (1, 2, 3)]
    for place, point in enumerate(("default", "chosen for C-F1", "chosen for O-F1")):
        choose(driver, "point", point)
        assert [table.is_displayed() for table in tables] == [i == place for i in range(3)]


def test_differences_can_be_hidden(visit):
    driver = visit()
    difference = driver.find_element(By.CSS_SELECTOR, "#table-1 .difference")
    assert difference.is_displayed()
    driver.find_element(By.ID, "differences").click()
    assert not difference.is_displayed()


def test_a_number_shows_the_values_of_its_seeds(visit):
    driver = visit(390)
    driver.find_element(By.CSS_SELECTOR, "#table-1 td[data-seeds]").click()
    tip = driver.find_element(By.ID, "tip")
    assert tip.text.startswith("seed 0: ")
    assert tip.rect["x"] >= 0
    assert tip.rect["x"] + tip.rect["width"] <= 390
    driver.find_element(By.TAG_NAME, "h1").click()
    assert not tip.is_displayed()


def test_a_figure_is_enlarged_and_closed_by_keys(visit):
    driver = visit()
    button = driver.find_element(By.CLASS_NAME, "zoom")
    button.send_keys("\n")
    dialog = driver.find_element(By.ID, "large")
    assert dialog.is_displayed()
    assert dialog.find_element(By.TAG_NAME, "img").size["width"] > button.size["width"]
    dialog.find_element(By.TAG_NAME, "button").send_keys("\ue00c")  # escape
    assert not dialog.is_displayed()


def test_the_class_filter_shows_the_photos_that_have_the_class(visit, gallery):
    driver = visit()
    assert shown_photos(driver) == list(range(12))
    for label, name in enumerate(gallery["classes"]):
        choose(driver, "class", name)
        having = [photo for photo, labels in enumerate(gallery["truth"]) if label in labels]
        assert shown_photos(driver) == having
        status = driver.find_element(By.ID, "shown")
        assert status.get_attribute("aria-live") == "polite"
        assert status.text == f"{len(having)} of 12 photos have “{name}”."
        assert address_of(driver) == {"method": ["pla"], "class": [name]}
    driver.find_element(By.ID, "reset").click()
    assert shown_photos(driver) == list(range(12))


def expected_photos(gallery: dict, method: int, kind: str, label: int | None) -> list[int]:
    """The photos that a filter must leave, written anew."""
    found = []
    for photo, truth in enumerate(gallery["truth"]):
        emitted = gallery["methods"][method]["predictions"][photo]["labels"]
        of_kind = {
            "a label is missing": set(truth) - set(emitted),
            "a label is wrong": set(emitted) - set(truth),
            "a label is repeated": {c for c in emitted if emitted.count(c) > 1},
            "all labels are right": set(truth) if set(truth) == set(emitted) else set(),
        }[kind]
        if of_kind if label is None else label in of_kind:
            found.append(photo)
    return found


@pytest.mark.parametrize(
    "kind",
    ["a label is missing", "a label is wrong", "a label is repeated", "all labels are right"],
)
def test_the_kind_filter_follows_the_method(visit, gallery, kind):
    driver = visit()
    choose(driver, "kind", kind)
    found = set()
    for method, title in enumerate(("BCE", "PLA", "frequent-first")):
        choose(driver, "method", title)
        for label, name in ((None, "any"), (0, "dog"), (4, gallery["classes"][4])):
            choose(driver, "class", name)
            photos = expected_photos(gallery, method, kind, label)
            assert shown_photos(driver) == photos
            found.update(photos)
    assert found


def test_an_address_reproduces_the_filter(visit, gallery):
    driver = visit()
    choose(driver, "method", "frequent-first")
    choose(driver, "class", gallery["classes"][7])
    choose(driver, "kind", "a label is missing")
    photos, address = shown_photos(driver), driver.execute_script("return location.hash")
    assert photos == expected_photos(gallery, 2, "a label is missing", 7) != []
    driver = visit(address=address)
    assert shown_photos(driver) == photos
    selected = [Select(driver.find_element(By.ID, name)) for name in ("method", "class", "kind")]
    assert [select.first_selected_option.text for select in selected] == [
        "frequent-first",
        f"{gallery['classes'][7]} ({sum(7 in labels for labels in gallery['truth'])})",
        "a label is missing",
    ]
    top = driver.execute_script("return document.getElementById('gallery').getClientRects()[0].top")
    assert top < 900


def test_an_address_of_something_unknown_shows_all_photos(visit):
    driver = visit(address="#gallery?method=nobody&class=%00&kind=odd")
    assert shown_photos(driver) == list(range(12))
    assert driver.get_log("browser") == []


def test_labels_are_listed_in_order_of_emission(visit, gallery):
    driver = visit()
    cards = driver.find_elements(By.CLASS_NAME, "photo")
    for card, photo in zip(cards, gallery["methods"][1]["predictions"], strict=True):
        lines = card.find_elements(By.CSS_SELECTOR, ".label .name")
        names = [line.get_attribute("textContent") for line in lines]
        wanted = photo["labels"] + photo["missing"]
        kinds = [name.split(": ")[0] for name in names]
        assert [name.split(": ", 1)[1] for name in names] == [gallery["classes"][c] for c in wanted]
        assert kinds.count("missing") == len(photo["missing"])
        probabilities = [e.text for e in card.find_elements(By.CLASS_NAME, "probability")]
        np.testing.assert_allclose(
            [float(p) for p in probabilities],
            [photo["scores"][str(c)] for c in wanted],
            atol=0.0051,
        )


def overlay(card: Any) -> tuple[bool, list[int]]:
    """Whether a photo's map is visible, and its levels of shadow."""
    canvas = card.find_element(By.TAG_NAME, "canvas")
    read = """const c = arguments[0], context = c.getContext("2d");
        const pixels = context.getImageData(0, 0, c.width, c.height).data;
        return [...pixels].filter((_, i) => i % 4 === 3);"""
    return canvas.is_displayed(), card.parent.execute_script(read, canvas)


def test_attention_is_shown_on_focus(visit):
    driver = visit()
    card = driver.find_elements(By.CLASS_NAME, "photo")[1]
    labels = card.find_elements(By.CSS_SELECTOR, "button.label")
    assert len(labels) > 1
    assert not overlay(card)[0]
    maps = []
    for label in labels[:2]:
        driver.execute_script("arguments[0].focus()", label)
        visible, levels = overlay(card)
        assert visible
        assert len(levels) == 3 * 4
        assert min(levels) < max(levels)
        maps.append(levels)
    assert maps[0] != maps[1]
    driver.execute_script("document.activeElement.blur()")
    assert not overlay(card)[0]


def test_a_tap_keeps_the_attention_until_the_next(visit):
    driver = visit(390)
    card = driver.find_elements(By.CLASS_NAME, "photo")[1]
    first, second = card.find_elements(By.CSS_SELECTOR, "button.label")[:2]
    first.click()
    driver.execute_script("document.activeElement.blur()")
    assert overlay(card)[0]
    second.click()
    pressed = [label.get_attribute("aria-pressed") for label in (first, second)]
    assert pressed == ["false", "true"]
    second.click()
    driver.execute_script("document.activeElement.blur()")
    assert second.get_attribute("aria-pressed") == "false"
    assert not overlay(card)[0]


def test_methods_without_attention_have_no_buttons(visit):
    driver = visit()
    choose(driver, "method", "BCE")
    assert driver.find_elements(By.CSS_SELECTOR, ".photo .label")
    assert not driver.find_elements(By.CSS_SELECTOR, ".photo button.label")
