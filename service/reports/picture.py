"""The trend of the last nights as a picture: quiet, readable without colour, on paper of its own.

Pure but for drawing. matplotlib is imported when the first picture is drawn, so that nobody who
draws none waits for it.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from service.reports.drift import Night

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 592, 190  # CSS pixels; drawn at twice that for sharp screens
_DPI = 192
_INK, _MUTED, _PAPER, _LINE = "#1f2933", "#66727f", "#ffffff", "#d9dee3"
_DONE, _LEFT = "#8aa9c4", "#b3261e"
_SIZE = 7.5  # points; at this density one is 1.33 CSS pixels
_TEXT: dict[str, Any] = {"fontsize": _SIZE, "ha": "center"}
_CROSS = "\u00d7"
_LEGEND = (
    ("■ ", _DONE),
    ("repaired     ", _INK),
    ("■ ", _LEFT),
    ("still open     ", _INK),
    (f"{_CROSS} ", _MUTED),
    ("nobody looked", _INK),
)


def draw_trend(nights: Sequence[Night]) -> bytes:
    """Return a PNG with one bar per night: people found, and of those the ones still open in red.

    A night without a look is a cross at the foot, never an empty bar that could be read as zero.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  # slow to import, and needed once a night

    figure = Figure(figsize=(WIDTH * 2 / _DPI, HEIGHT * 2 / _DPI), dpi=_DPI, facecolor=_PAPER)
    axes = figure.add_axes((0.06, 0.14, 0.925, 0.72))
    _draw_bars(axes, nights)
    _draw_frame(axes, nights)
    _draw_legend(axes)
    target = io.BytesIO()
    figure.savefig(target, format="png", facecolor=_PAPER, metadata={"Software": None})
    return target.getvalue()


def describe_trend(nights: Sequence[Night]) -> str:
    """Return the picture in words, for those who do not see it."""
    seen = [(night.day, night.found, night.repaired or 0) for night in nights if night.found is not None]
    if not seen:
        return f"No run looked at both products in the last {len(nights)} nights."
    peak, last, missing = max(seen, key=lambda night: night[1]), seen[-1], len(nights) - len(seen)
    text = (
        f"Most people found wrongly mailable on one of the last {len(nights)} nights: "
        f"{peak[1]:,} on {peak[0]:%d %B}. "
        f"On {last[0]:%d %B}: {last[1]:,}, of whom {last[1] - last[2]:,} stayed open."
    )
    return text + (f" On {missing} nights nobody looked." if missing else "")


def _draw_bars(axes: "Axes", nights: Sequence[Night]) -> None:
    for place, night in enumerate(nights):
        if night.found is None:
            axes.annotate(_CROSS, (place, 0), (0, 4), textcoords="offset points", **_TEXT, color=_MUTED)
            continue
        repaired = night.repaired or 0
        axes.bar(place, repaired, width=0.72, color=_DONE)
        axes.bar(place, night.found - repaired, width=0.72, bottom=repaired, color=_LEFT)
    if nights and nights[-1].found is not None:
        last = (len(nights) - 1, nights[-1].found)
        axes.annotate(
            f"{last[1]:,}", last, (0, 3), textcoords="offset points", **_TEXT, color=_INK, weight="bold"
        )


def _draw_frame(axes: "Axes", nights: Sequence[Night]) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  # as above

    last = len(nights) - 1
    axes.set_xlim(-0.7, last + 0.7)
    axes.set_ylim(0, max(4, 1.18 * max((night.found or 0 for night in nights), default=0)))
    places = range(last, -1, -7)
    axes.set_xticks(list(places), [f"{nights[place].day:%d %b}" for place in places])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.tick_params(colors=_MUTED, length=0, pad=4, labelsize=_SIZE)
    axes.grid(axis="y", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)


def _draw_legend(axes: "Axes") -> None:
    """Write above the bars what the colours mean, each word where the last one ended."""
    place = 0.0
    for text, colour in _LEGEND:
        drawn = axes.text(
            place, 1.1, text, transform=axes.transAxes, color=colour, va="center", fontsize=_SIZE
        )
        place += drawn.get_window_extent().width / axes.get_window_extent().width
