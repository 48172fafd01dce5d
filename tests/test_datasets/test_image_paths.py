import http.server
import threading
from types import SimpleNamespace

import pytest

from mmorderless.datasets import image_paths
from mmorderless.datasets.image_paths import are_files, image_backend, join_path, join_paths


@pytest.fixture
def server(tmp_path):
    """Serve the folder over HTTP; gives its URL."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_files_are_found_by_listing_their_folders(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.jpg").touch()
    (tmp_path / "a/3.jpg").symlink_to("1.jpg")
    (tmp_path / "a/4.jpg").symlink_to("nothing.jpg")
    monkeypatch.chdir(tmp_path)
    assert are_files(["a/1.jpg", "a/3.jpg", str(tmp_path / "a/1.jpg")]) == [True] * 3
    assert are_files(["a/2.jpg", "a/4.jpg", "b/1.jpg", "1.jpg", "a"]) == [False] * 5


def test_remote_files_are_found(tmp_path, server):
    (tmp_path / "1.jpg").write_bytes(b"x")
    assert are_files([f"{server}/1.jpg", f"{server}/2.jpg"]) == [True, False]
    assert are_files(["foo://1.jpg", "http://a b/1.jpg"]) == [False, False]
    path = str(tmp_path / "1.jpg")
    assert are_files([path, path + "x"], {"backend": "local"}) == [True, False]


def test_absolute_paths_and_urls_are_not_joined():
    assert join_path("/data/images", "a/1.jpg") == "/data/images/a/1.jpg"
    assert join_path("/data/images", "/b/1.jpg") == "/b/1.jpg"
    for url in ("https://example.com/1.jpg", "s3://bucket/1.jpg"):
        assert join_path("/data/images", url) == url


def test_windows_paths_are_read_where_only_they_exist(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(image_paths, "print_log", lambda line, **_: lines.append(line))
    (tmp_path / "images").mkdir()
    for name in ("images/1.jpg", "images/2.jpg", r"images\2.jpg", "images/4.jpg"):
        (tmp_path / name).touch()
    names = [rf"images\{i}.jpg" for i in (1, 2, 3)] + ["images/4.jpg"]
    found = [path.removeprefix(f"{tmp_path}/") for path in join_paths(str(tmp_path), names, "x")]
    assert found == ["images/1.jpg", r"images\2.jpg", r"images\3.jpg", "images/4.jpg"]
    assert lines == [r"x: read \ as / in 1 image paths, such as images\1.jpg"]


def test_the_pipeline_knows_the_storage():
    def dataset(*steps):
        steps = [SimpleNamespace(**step) for step in steps]
        return SimpleNamespace(pipeline=SimpleNamespace(transforms=steps))

    backend = {"backend": "petrel"}
    assert image_backend(dataset({"size": 3}, {"backend_args": backend})) == backend
    assert image_backend(dataset({"backend_args": None})) is None
    assert image_backend(SimpleNamespace()) is None
    concatenated = SimpleNamespace(datasets=[dataset({"backend_args": backend})])
    assert image_backend(concatenated) == backend
