# SPDX-License-Identifier: Apache-2.0
"""Configuration files from templates; an undefined variable is an error, not an empty text."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, **values: Any) -> str:
    """Return a template of testbed/templates with its variables filled in."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # nosec: configuration files, not HTML
    )
    return environment.get_template(template).render(**values)
