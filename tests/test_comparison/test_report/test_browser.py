"""The report in a real browser (headless Chromium)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select


@pytest.fixture
def visit(chromium, report: Path) -> Callable[..., Any]:
    """Reload the page with a width in pixels and an address."""

    def open_page(width: int = 1440, address: str = "") -> Any:
        size = dict(width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chromium.get("about:blank")
        chromium.get(report.as_uri() + address)
        return chromium

    return open_page


@pytest.fixture(scope="module")
def gallery(report: Path) -> dict[str, Any]:
    """The data that the page's script reads."""
    text = report.read_text(encoding="utf-8")
    return json.loads(text.split('id="data">')[1].split("</script>")[0])


def choose(driver: Any, name: str, text: str) -> None:
    select = Select(driver.find_element(By.ID, name))
    [value] = {o.get_attribute("value") for o in select.options if o.text.startswith(text)}
    select.select_by_value(value)


def shown_photos(driver: Any) -> list[int]:
    visible = "return [...document.querySelectorAll('.photo')].map((c) => c.checkVisibility())"
    return [photo for photo, is_shown in enumerate(driver.execute_script(visible)) if is_shown]


def column(driver: Any, index: int) -> list[float]:
    """A column of Table 2 as displayed, from top to bottom."""
    cells = driver.find_elements(By.CSS_SELECTOR, f"#table-1 tbody tr > :nth-child({index + 1})")
    return [float(cell.text.split()[0]) for cell in cells]


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_loads_without_errors_requests_or_horizontal_scrolling(visit, width, report):
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

    drawn = "return [...document.images].every((i) => i.complete && i.naturalWidth > 0)"
    assert driver.execute_script(drawn)
    assert len(driver.find_elements(By.TAG_NAME, "img")) > 11

    driver.execute_script("for (const part of document.querySelectorAll('details')) part.open = 1")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    # A phone widens its window to its content.
    assert driver.execute_script("return innerWidth") == width


def test_tables_are_sorted_switched_and_explained(visit):
    driver = visit()
    before = column(driver, 3)
    header = driver.find_elements(By.CSS_SELECTOR, "#table-1 thead th")[3]
    header.find_element(By.TAG_NAME, "button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert column(driver, 3) == sorted(before, reverse=True) != before
    header.find_element(By.TAG_NAME, "button").send_keys(" ")
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(driver, 3) == sorted(before)

    difference = driver.find_element(By.CSS_SELECTOR, "#table-1 .difference")
    assert difference.is_displayed()
    driver.find_element(By.ID, "differences").click()
    assert not difference.is_displayed()
    driver.find_element(By.CSS_SELECTOR, "#table-1 td[data-seeds]").click()
    assert driver.find_element(By.ID, "tip").text.startswith("seed 0: ")

    tables = [driver.find_element(By.ID, f"table-{i}") for i in (1, 2, 3)]
    for index, point in enumerate(("default", "chosen for C-F1", "chosen for O-F1")):
        choose(driver, "point", point)
        assert [table.is_displayed() for table in tables] == [i == index for i in range(3)]

    driver.find_element(By.CLASS_NAME, "zoom").send_keys("\n")
    dialog = driver.find_element(By.ID, "large")
    assert dialog.is_displayed()
    dialog.find_element(By.TAG_NAME, "button").send_keys("\ue00c")  # escape
    assert not dialog.is_displayed()


def test_the_gallery_is_filtered_by_its_address_and_shows_attention(visit, gallery):
    driver = visit()
    assert shown_photos(driver) == list(range(12))
    choose(driver, "method", "frequent-first")
    choose(driver, "class", gallery["classes"][7])
    choose(driver, "kind", "a label is missing")
    missing = [photo["missing"] for photo in gallery["methods"][2]["predictions"]]
    expected = [photo for photo, labels in enumerate(missing) if 7 in labels]
    assert shown_photos(driver) == expected != []
    address = driver.execute_script("return location.hash")
    driver = visit(address=address)
    assert shown_photos(driver) == expected
    driver.find_element(By.ID, "reset").click()
    assert shown_photos(driver) == list(range(12))

    choose(driver, "method", "PLA")
    card = driver.find_elements(By.CLASS_NAME, "photo")[1]
    names = [
        name.get_attribute("textContent") for name in card.find_elements(By.CLASS_NAME, "name")
    ]
    photo = gallery["methods"][1]["predictions"][1]
    labels = [gallery["classes"][label] for label in photo["labels"] + photo["missing"]]
    assert [name.split(": ", 1)[1] for name in names] == labels
    canvas = card.find_element(By.TAG_NAME, "canvas")
    assert not canvas.is_displayed()
    label = card.find_element(By.CSS_SELECTOR, "button.label")
    driver.execute_script("arguments[0].focus()", label)
    assert canvas.is_displayed()
    read = """const c = arguments[0], context = c.getContext("2d");
        const pixels = context.getImageData(0, 0, c.width, c.height).data;
        return [...pixels].filter((_, i) => i % 4 === 3);"""
    shadows = driver.execute_script(read, canvas)
    assert len(shadows) == 3 * 4
    assert min(shadows) < max(shadows)
    assert driver.get_log("browser") == []
