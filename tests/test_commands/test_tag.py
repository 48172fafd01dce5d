"""The tagging page: what it shows and writes, in a real browser, and its errors."""

import html
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import DATASETS, MODELS

from mmorderless.commands.tag import TaggingPage, main
from mmorderless.inference.inferencer import OrderlessInferencer
from mmorderless.inference.tagging import TaggingSession, set_probability
from mmorderless.models.decoding.options import Decoding

CLASSES = ["ant", '<b>bee</b> & "x"', "cat", "dog", "eel", "fox", "gnu", "hen", "ibis"]
HEADS = {
    "sequence": dict(
        type="OrderlessRNNHead",
        max_steps=5,
        decoder=dict(hidden_size=8, embed_size=4, attention_size=8),
        decoding=dict(no_repeat=True),
    ),
    "class queries": dict(type="ClassQueryHead", queries=dict(hidden_size=8, query_size=8)),
    "independent": dict(type="MultiLabelMLPHead", widths=[8]),
}


def build(folder: Path, head: str) -> Config:
    """A model with large random weights, which predicts other labels for other photos."""
    neck = dict(neck=dict(type="GlobalAveragePooling")) if head == "independent" else {}
    pipeline = [
        dict(type="LoadImage"),
        dict(type="Resize", scale=(64, 64)),
        dict(type="PackInputs"),
    ]
    dataset = dict(type="CsvMultiLabel", ann_file="test.csv", classes=CLASSES, pipeline=pipeline)
    cfg = Config(
        dict(
            default_scope="mmpretrain",
            custom_imports=dict(imports=["mmorderless"], allow_failed_imports=False),
            model=dict(
                type="ImageClassifier",
                backbone=dict(type="ResNet", depth=18, base_channels=4, stem_channels=4),
                head=dict(num_classes=len(CLASSES), in_channels=32, **HEADS[head]),
                **neck,
            ),
            data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3, to_rgb=True),
            test_dataloader=dict(batch_size=2, dataset=dataset),
        )
    )
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.manual_seed(0)
    model.head.init_weights()
    for parameter in model.head.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=3)
    if head == "sequence":
        # END is about as probable as a label.
        model.head.decoder.classifier.bias.data.zero_()[-1] = 1
    meta = {"dataset_meta": {"classes": CLASSES}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, folder / "weights.pth")
    cfg.dump(folder / "config.py")
    return cfg


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of three photos and one that cannot be read, which is the working directory."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name in ("a", "b", "c"):
        colors = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
        picture = cv2.resize(colors, (400, 300), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), picture)
    (tmp_path / "photos" / "d.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def open_page(folder):
    def open_page(head: str) -> TaggingPage:
        inferencer = OrderlessInferencer(build(folder, head), "weights.pth", device="cpu")
        photos = sorted(str(file) for file in (folder / "photos").iterdir())
        if head != "sequence":  # four labels of the first photo
            [result] = inferencer(photos[0], progress=False)
            inferencer.model.head.thr = sorted(result["scores"])[-4]
        session = TaggingSession(photos, inferencer.classes, folder / "tags" / "labels.csv")
        return TaggingPage(inferencer, session)

    return open_page


def names_of(page: TaggingPage, photo: int, **known) -> list[str]:
    image = page.session.images[photo]
    [result] = page.inferencer(image, progress=False, **known)
    if result["sequence"] is None:
        return sorted(result["names"], key=lambda name: -result["scores"][CLASSES.index(name)])
    return result["names"]


def shown(content: str) -> list[str]:
    return [html.unescape(name) for name in re.findall(r'class="name">(.*)</span>', content)]


@pytest.mark.parametrize("head", HEADS)
def test_decisions_change_what_is_shown_and_saved(open_page, head):
    page = open_page(head)
    first = names_of(page, 0)
    assert len(first) > 1
    assert shown(page.content()) == first
    assert ("data:image/png" in page.content()) == (head != "independent")

    page.act("reject", 0, first[0])
    rest = names_of(page, 0, excluded=[first[0]])
    assert shown(page.content()) == rest
    assert first[0] not in rest
    added = next(name for name in CLASSES if name not in first)
    page.act("confirm", 0, added)
    known = dict(given=[added], excluded=[first[0]])
    labels = shown(page.content())
    assert labels[0] == added
    assert set(labels) == set(names_of(page, 0, **known))
    with pytest.raises(ValueError, match="'yak' is not one of the model's 9 classes"):
        page.act("confirm", 0, "yak")

    page.act("next", 0, "")
    assert page.session.saved == {page.session.images[0]: labels}
    assert shown(page.content()) == names_of(page, 1)
    with pytest.raises(ValueError, match="another window went to another photo"):
        page.act("next", 0, "")
    page.act("previous", 1, "")
    assert shown(page.content()) == labels
    page.act("leave", 0, labels[0])
    page.act("reject", 0, labels[-1])
    page.act("next", 0, "")
    assert labels[-1] not in page.session.saved[page.session.images[0]]


def test_more_labels_may_be_confirmed_than_the_model_emits(open_page):
    page = open_page("sequence")
    for name in CLASSES:
        page.act("confirm", 0, name)
    assert shown(page.content()) == CLASSES
    page.act("next", 0, "")
    assert page.session.saved[page.session.images[0]] == CLASSES


def test_an_unreadable_photo_is_named_and_passed_over(open_page):
    page = open_page("independent")
    for photo in range(3):
        page.act("next", photo, "")
    assert "d.png (8 bytes) is truncated or not an image" in page.content()
    page.act("next", 3, "")
    assert len(page.session.saved) == 3
    assert "d.png" in page.content()  # the only one left


def test_the_last_photo_is_followed_by_the_end(open_page):
    page = open_page("independent")
    page.session.images.pop()
    for photo in (0, 1, 2):
        page.act("next", photo, "")
    assert "All photos are tagged" in page.content()
    page.act("next", -1, "")
    page.act("previous", -1, "")
    assert "c.png" in page.content()
    page.act("skip", 2, "")
    assert "All photos are tagged" in page.content()


@pytest.mark.parametrize("head", HEADS)
def test_the_operating_parameter_moves_the_set(open_page, head):
    page = open_page(head)
    image = page.session.images[0]
    few, many = (-50.0, 50.0) if head == "sequence" else (1.1, 0.0)
    page.value = few
    assert shown(page.content()) == []
    page.value = many
    assert len(shown(page.content())) == (5 if head == "sequence" else 9)  # max_steps is 5
    if head == "sequence":
        assert page.head.decoding.end_bias == 0
    else:
        assert page.head.thr == page.parameter.default
    page.act("next", 0, "")
    assert len(page.session.saved[image]) >= 4


@pytest.mark.parametrize("head", ["sequence", "independent"])
def test_uncertain_photos_come_first(open_page, head):
    page = open_page(head)
    page.act("next", 0, "")
    shares = []
    page.sort(True, shares.append)
    assert shares == [1 / 3, 2 / 3, 1]
    photos = page.session.images[1:3]
    results = page.inferencer(photos, progress=False)
    found = {photo: set_probability(result) for photo, result in zip(photos, results)}
    assert page.session.order[:2] == sorted(photos, key=found.get)
    assert page.session.current == page.session.order[0]
    page.sort(False, shares.append)
    assert page.session.order == page.session.images


def test_errors(folder, monkeypatch, tmp_path):
    build(folder, "sequence")
    call = ["config.py", "weights.pth", "photos"]
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ImportError, match=r"gradio.* pip install 'mmorderless\[tag\]'"):
        main(call)
    monkeypatch.setitem(sys.modules, "gradio", object())
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="the folder empty holds no image"):
        main([*call[:2], "empty"])
    with pytest.raises(FileNotFoundError, match=r"no photo gone\.jpg; check the path"):
        main([*call, "gone.jpg"])
    with pytest.raises(ValueError, match="does not begin with an image file"):
        main([*call[:2], "--cfg-options", "test_dataloader.dataset.pipeline=[]"])


# In a browser, with a server of its own process


class Server:
    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mmorderless", "tag", "config.py", "weights.pth", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Neither another address nor a proxy of the environment may matter.
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "OMP_NUM_THREADS": "1",
                "GRADIO_SERVER_NAME": "0.0.0.0",
                "GRADIO_SHARE": "True",
                "http_proxy": "http://127.0.0.1:9",
            },
        )
        self.lines: list[str] = []
        self.address = ""
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.match(r"(http://127\.0\.0\.1:\d+/) shows \d+ photos", line):
                self.address = found[1]
                return

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()


class Window:
    """The page in the browser."""

    def __init__(self, driver, address: str) -> None:
        self.driver = driver
        self.open(address)

    def open(self, address: str) -> None:
        self.driver.get("about:blank")
        self.driver.get(address)
        self.until(lambda: self.script("return !!document.querySelector('.tagging h1')"))

    def script(self, code: str, *arguments):
        return self.driver.execute_script(code, *arguments)

    def until(self, condition) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, self.script("return document.body.innerText")
            time.sleep(0.1)

    def press(self, keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(keys).perform()

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def names(self) -> list[str]:
        return self.script(
            "return [...document.querySelectorAll('.row .name')].map((e) => e.textContent)"
        )

    def is_at(self, title: str) -> None:
        self.until(lambda: self.driver.find_element("tag name", "h1").text == title)

    def shows(self, names: list[str]) -> None:
        self.until(lambda: self.names() == names)


@pytest.mark.slow
def test_the_page_in_a_browser(folder, chromium):
    pytest.importorskip("gradio", reason="gradio is not installed")
    cfg = build(folder, "sequence")
    inferencer = OrderlessInferencer(cfg, "weights.pth", device="cpu")
    photos = [f"photos/{name}.png" for name in "acb"]  # b is the least certain one

    def names(photo: int, **known) -> list[str]:
        return inferencer(photos[photo], progress=False, **known)[0]["names"]

    def errors() -> list[str]:
        """Messages in the console since the last call."""
        return [entry["message"] for entry in chromium.get_log("browser")]

    with Server(*photos, "--port", str(free_port())) as server:
        assert server.address, server.lines
        port = int(server.address.split(":")[-1].strip("/"))
        for host in {"127.0.0.2", own_address()}:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, port), timeout=5)
        other = Request(server.address, headers={"Host": f"another.example:{port}"})
        with pytest.raises(HTTPError, match="Bad Request"):
            build_opener(ProxyHandler({})).open(other, timeout=60)
        chromium.get_log("performance")
        page = Window(chromium, server.address)

        first = names(0)
        page.shows(first)
        page.press("x")
        excluded = [first[0]]
        rest = names(0, excluded=excluded)
        page.shows(rest)
        assert rest != first[1:]
        page.click(f"[aria-label={json.dumps('confirm ' + rest[1])}]")
        given = [rest[1]]
        page.shows(names(0, given=given, excluded=excluded))
        assert page.names()[0] == rest[1]
        added = next(c for c in CLASSES if c not in (*page.names(), *excluded))
        page.press("a")
        page.press(f"{added}\n")
        given.append(added)
        labels = names(0, given=given, excluded=excluded)
        page.shows(labels)
        page.press("n")  # a letter in the text field
        page.open(server.address)
        page.shows(labels)

        maps = "return [...document.querySelectorAll('.row i')].length"
        assert page.script(maps) == len(labels)
        page.press("\ue015")  # down
        seen = (
            "const map = document.querySelector('figure .map'); return !map.hidden && map.complete"
        )
        page.until(lambda: page.script(seen))

        page.press("n")
        page.shows(names(1))
        dataset = dict(type="CsvMultiLabel", ann_file="tags/labels.csv", classes="tags/classes.txt")
        [record] = DATASETS.build(dict(dataset, test_mode=True))
        assert os.path.samefile(record["img_path"], photos[0])
        assert record["gt_label"] == sorted(map(CLASSES.index, labels))
        page.open(server.address)
        page.shows(names(1))

        for taken in (port, 65536):
            with Server(*photos, "--out-dir", "other", "--port", str(taken)) as other:
                other.process.wait()
            assert f"error: no port of 127.0.0.1 is free among {taken}; " in other.lines[-1]
        assert errors() == []

    chromium.get("about:blank")
    errors()  # of a page that has lost its server
    with Server(*photos) as server:  # goes on after a restart
        page.open(server.address)
        page.shows(names(1))
        number = page.driver.find_element("css selector", "input[type=number]")
        number.clear()
        number.send_keys("-2\n")
        before = names(1)
        inferencer.model.head.decoding = Decoding(no_repeat=True, end_bias=-2.0)
        assert names(1) != before
        page.shows(names(1))
        page.click("input[type=checkbox]")
        results = inferencer(photos[1:], progress=False)
        certain, uncertain = sorted(results, key=set_probability, reverse=True)
        page.is_at(uncertain["image"])
        page.press("s")  # while the checkbox has the focus
        page.is_at(certain["image"])
        page.press("p")
        page.is_at(uncertain["image"])
        page.open(server.address)
        page.is_at(uncertain["image"])
        page.shows(uncertain["names"])
        assert page.script("return document.querySelector('input[type=checkbox]').checked")
        for width in (1280, 390):
            size = dict(width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
            chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            page.open(server.address)
            page.is_at(uncertain["image"])
            assert page.script("return document.documentElement.scrollWidth") <= width
        page.press("s")
        page.is_at(certain["image"])
        page.press("n")
        page.is_at(uncertain["image"])
        page.press("n")
        page.is_at("All photos are tagged")
        assert errors() == []

    events = [json.loads(e["message"])["message"] for e in chromium.get_log("performance")]
    asked = {
        e["params"]["request"]["url"]
        for e in events
        if e["method"] == "Network.requestWillBeSent"
        and e["params"]["documentURL"].startswith("http")
    }
    assert not [u for u in asked if not u.startswith(("http://127.0.0.1:", "data:", "blob:"))]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def own_address() -> str:
    """This machine's address in its network, or another loopback address without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent:
        try:
            unsent.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.3"
        return unsent.getsockname()[0]
