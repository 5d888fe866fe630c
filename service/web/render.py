"""Fill a template: the only place where text becomes HTML, always escaped."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response

HERE: Final = Path(__file__).resolve().parent


def page(
    template: str, /, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: object
) -> Response[bytes]:
    """Return the page of `templates/<template>` with `values` in it."""
    return Response(
        _TEMPLATES.get_template(template).render(values).encode(),
        status_code=status,
        media_type="text/html",
        headers=dict(headers or {}),
    )


def _moment(value: datetime) -> str:
    return value.strftime("%-d %B %Y, %H:%M:%S UTC")


def _day(value: datetime) -> str:
    return value.strftime("%-d %B %Y")


_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"moment": _moment, "day": _day}
