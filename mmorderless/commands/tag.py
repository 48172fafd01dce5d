"""Tag photos in the browser: a person confirms, rejects and adds labels, the model does the rest.

The page is served on 127.0.0.1 alone and needs no network. Each photo that is saved is a row of
DIR/labels.csv, which `CsvMultiLabel` reads with the classes in DIR/classes.txt.
"""

import argparse
import base64
import html
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader
from mmpretrain.registry import DATASETS
from PIL import Image

from mmorderless.comparison.evaluation.operating_parameter import operating_parameter_of, override
from mmorderless.datasets.loading import LoadImage
from mmorderless.errors import error_line
from mmorderless.inference.decoded_image import geometric_steps
from mmorderless.inference.images import list_images
from mmorderless.inference.inferencer import OrderlessInferencer
from mmorderless.inference.tagging import TaggingSession, set_probability, shown_labels
from mmorderless.runs.config import read_config
from mmorderless.runs.files import write_text
from mmorderless.runs.options import add_config_options
from mmorderless.runs.processes import exclusive
from mmorderless.runs.trained_model import temporary_attributes

HOST = "127.0.0.1"
MAX_SIDE, THUMB_SIDE = 1024, 128
VERDICTS = {"confirm": True, "reject": False, "leave": None}
SLIDERS = {
    "end_bias": (-4.0, 4.0, 0.25, "END bias: more labels to the right"),
    "theta": (0.05, 0.95, 0.05, "θ: fewer labels to the right"),
    "threshold": (0.0, 1.0, 0.01, "Threshold: fewer labels to the right"),
}
"""Least and largest value, step and title by name of the operating parameter."""

FOLDER = Path(__file__).with_name("templates")
TEMPLATE = Environment(
    loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True
).get_template("tag.html")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is interrupted, and return the exit code."""
    args = build_parser().parse_args(argv)
    try:
        import gradio
    except ImportError as error:
        raise ImportError(
            f"{error}; the page needs Gradio: pip install 'mmorderless[tag]'"
        ) from None
    cfg = read_config(args.config, args.cfg_options)
    inferencer = OrderlessInferencer(cfg, args.checkpoint, device=args.device)
    images = args.images
    if not images:
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        images = [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]
    files = [str(file) for file in list_images(images)]
    folder = Path(args.out_dir)
    with exclusive(folder, "--out-dir"):
        session = TaggingSession(files, inferencer.classes, folder / "labels.csv")
        write_text(folder / "classes.txt", "".join(f"{c}\n" for c in inferencer.classes))
        page = build_page(gradio, TaggingPage(inferencer, session))
        # A proxy that is set for other hosts is not for this one.
        os.environ["no_proxy"] = ",".join(filter(None, [os.environ.get("no_proxy"), HOST]))
        try:
            _, address, _ = page.launch(
                server_name=HOST,
                server_port=args.port,
                share=False,
                ssr_mode=False,
                prevent_thread_lock=True,
                quiet=True,
                footer_links=[],
                run_history=False,
                app_kwargs=dict(middleware=[own_name_only()]),
                theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
            )
        except (OSError, OverflowError) as error:  # the latter is a port above 65535
            ports = "7860 to 7959" if args.port is None else args.port
            raise ValueError(
                f"no port of {HOST} is free among {ports}; choose another one with --port"
            ) from error
        print(f"{address} shows {len(files)} photos; Ctrl-C ends", flush=True)
        page.block_thread()
    return 0


def own_name_only() -> Any:
    """Refuse what is asked of another host's name, with which another site could read photos."""
    from starlette.middleware import Middleware  # Gradio brings it
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    return Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of tools/tag.py."""
    parser = argparse.ArgumentParser(description="Tag photos in the browser.")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="image files or folders; the config's test set if there are none",
    )
    parser.add_argument(
        "--out-dir",
        default="tags",
        metavar="DIR",
        help="folder of labels.csv and classes.txt; photos that labels.csv has are done",
    )
    parser.add_argument("--port", type=int, help="the first free one from 7860 by default")
    parser.add_argument("--device", help="such as cpu or cuda:1; an accelerator by default")
    add_config_options(parser)
    return parser


class TaggingPage:
    """What the page shows and does, for all its windows at once.

    Attributes:
        parameter: the head's operating parameter.
        value: its value; None for a head that decides by a rule of its own.
        uncertain: whether uncertain photos are first.
    """

    def __init__(self, inferencer: OrderlessInferencer, session: TaggingSession) -> None:
        self.inferencer = inferencer
        self.session = session
        self.head = inferencer.model.head
        self.parameter = operating_parameter_of(self.head)
        self.value = self.parameter.default
        decoder = getattr(self.head, "decoder", None)
        self.attends = (
            hasattr(self.head, "return_attention")
            and (decoder is None or decoder.attends)
            and not geometric_steps(inferencer.preparation.transforms)
        )
        self.uncertain = False
        self.lock = RLock()

    def predict(self, images: Sequence[str], maps: bool) -> Iterator[dict[str, Any]]:
        """Yield the results of photos with what is known of them, or their errors."""
        given, excluded = zip(*map(self.session.known, images))
        most = self.head.max_steps - 1 if hasattr(self.head, "max_steps") else None
        at_value = {} if self.value is None else override(self.head, self.value)
        with self.lock, temporary_attributes(self.head, at_value):
            yield from self.inferencer.predict(
                list(images),
                return_attention=maps,
                progress=False,
                skip_unreadable=True,
                given=[labels[:most] for labels in given],
                excluded=list(excluded),
            )

    def act(self, action: str, image: int, label: str) -> None:
        """Do what a button says that a window shows with a photo, by index, and maybe a label.

        Raises:
            ValueError: the label is no class, or another window has gone to another photo.
            OSError: the CSV cannot be written.
        """
        session, current = self.session, self.session.current
        if image != (-1 if current is None else session.images.index(current)):
            raise ValueError("another window went to another photo, which is shown here now")
        if action == "previous":
            session.current = session.before(current)
        elif current is None:
            return
        elif action in VERDICTS:
            session.decide(current, label, VERDICTS[action])
        else:
            if action == "next":
                [result] = self.predict([current], maps=False)
                if "error" not in result:
                    labels = shown_labels(result, session.known(current)[0])
                    session.save(current, [label.name for label in labels])
            session.current = session.after(current)

    def sort(self, uncertain: bool, progress: Callable[[float], Any]) -> None:
        """Put the photos whose sets are least probable first, or restore the order of the paths.

        `progress` is told the share of the photos that are predicted.
        """
        left = [image for image in self.session.images if image not in self.session.saved]
        found = {}
        if uncertain and left:
            for number, result in enumerate(self.predict(left, maps=False), 1):
                if "error" not in result:
                    found[result["image"]] = set_probability(result)
                progress(number / len(left))
        self.session.sort(found)
        self.uncertain = uncertain

    def content(self) -> str:
        """Return the HTML of the photo that is shown."""
        session, image = self.session, self.session.current
        saved = sum(photo in session.saved for photo in session.images)
        values: dict[str, Any] = dict(saved=saved, total=len(session.images), file=session.file)
        if image is None:
            return TEMPLATE.render(values, index=-1)
        values |= dict(index=session.images.index(image), name=os.path.relpath(image))
        [result] = self.predict([image], self.attends)
        if "error" in result:
            return TEMPLATE.render(values, error=result["error"])
        confirmed, rejected = session.known(image)
        maps = result.get("attention", np.zeros(0))
        pixels = LoadImage(min_side=MAX_SIDE)({"img_path": image})["img"][..., ::-1]
        return TEMPLATE.render(
            values,
            classes=session.classes,
            photo=data_url(pixels, MAX_SIDE),
            thumb=data_url(pixels, THUMB_SIDE),
            ratio=pixels.shape[1] / pixels.shape[0],
            labels=shown_labels(result, confirmed),
            maps=[data_url(overlay(seen)) for seen in maps] if maps.ndim == 3 else None,
            rejected=rejected,
            is_saved=image in session.saved,
            probability=set_probability(result),
        )


def data_url(pixels: np.ndarray, side: int = MAX_SIDE) -> str:
    """Return an RGB or RGBA picture with at most `side` pixels a side as an address."""
    picture, content = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((side, side))
    kind = "png" if picture.mode == "RGBA" else "jpeg"
    picture.save(content, kind, quality=90)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def overlay(attention: np.ndarray) -> np.ndarray:
    """Return an RGBA picture that darkens what an attention map (h, w) leaves out."""
    weight = (attention / attention.max())[..., None]
    amber = np.array([255, 190, 70]) * weight
    return np.concatenate([amber, 255 * (0.7 - 0.45 * weight)], axis=2).astype(np.uint8)


def build_page(gradio: Any, page: TaggingPage) -> Any:
    """Return the Gradio page around the HTML of a `TaggingPage`."""

    def show(action: Callable = lambda: None, *arguments: Any) -> str:
        with page.lock:
            try:
                action(*arguments)
            except (ValueError, OSError) as error:
                gradio.Warning(html.escape(error_line(error)))
            return page.content()

    def act(event: gradio.EventData) -> str:
        return show(page.act, event.action, event.image, event.label)

    def move(value: float) -> str:
        return show(setattr, page, "value", value)

    def sort(uncertain: bool, progress: Any = gradio.Progress()) -> str:  # noqa: B008
        return show(page.sort, uncertain, progress)

    least, most, step, title = SLIDERS[page.parameter.name]
    value = least if page.value is None else page.value
    with gradio.Blocks(title="Tag photos", analytics_enabled=False) as blocks:
        photo = gradio.HTML(
            css_template=(FOLDER / "tag.css").read_text(encoding="utf-8"),
            js_on_load=(FOLDER / "tag.js").read_text(encoding="utf-8"),
            apply_default_css=False,
        )
        with gradio.Row():
            slider = gradio.Slider(
                min(least, value),
                max(most, value),
                value,
                step=step,
                label=title,
                min_width=280,  # one below the other on a phone
                visible=page.value is not None,
            )
            box = gradio.Checkbox(
                label="Uncertain photos first: least probable set of labels", min_width=280
            )
        quiet = dict(outputs=photo, show_progress="hidden")
        photo.act(act, **quiet)
        slider.input(move, slider, trigger_mode="always_last", **quiet)
        box.input(sort, box, photo)
        blocks.load(
            lambda: (show(), page.value, page.uncertain),
            outputs=[photo, slider, box],
            show_progress="hidden",
        )
    return blocks
