"""Render the templates of the report, HTML with all values escaped."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from mmorderless.comparison.report.results import REFERENCE
from mmorderless.figures.style import title_of

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.globals = {"no_value": "\N{EN DASH}", "reference": title_of(REFERENCE)}
TEMPLATES.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}


def render(template: str, **values: Any) -> str:
    """Return a file of the folder `templates`, filled with values."""
    return TEMPLATES.get_template(template).render(values)
