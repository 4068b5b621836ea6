"""One page of HTML that needs nothing beside it: figures inside, players by path, light and dark.

A page is sections of blocks; a block is tiles, a table, figures or a note. Every text is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.base.files import write_text

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.axes import Axes

TEMPLATE = Path(__file__).with_name("page.html.jinja")
FIGURE_INCHES = (3.6, 2.2)
LINE_MARGINS = {"left": 0.17, "right": 0.93, "bottom": 0.21, "top": 0.87}
"""Room for tick labels of six characters, and for a legend of one row."""
MOST_MARKERS = 40
"""Of a line: points closer than that run into each other."""
LEGEND_COLUMNS = 4
"""Of a legend above the axes, where it covers no line."""

INK = "#010203"
"""A figure's colour for axes and text: on the page, the colour of its text."""
ACCENT = "#030201"
"""A figure's colour for what it shows: on the page, the accent of its theme."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number that matters, large."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A table cell with a bar of ``share`` (0 to 1) behind its text."""

    share: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """A table cell that plays a sound.

    ``src`` is a path relative to the page or a ``data:`` address, and may end in ``#t=1.5,4``.
    """

    src: str
    label: str = "play"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A card to hear: its picture above a player, and what there is to say about it."""

    label: str
    player: Player | None
    """None where there is nothing to hear."""
    picture: str = ""
    """Address of an image, such as that of :func:`image_address`; empty for none."""
    mark: str = ""
    """A number that matters, beside the label."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sounds:
    """Cards to hear side by side, below what all of them say."""

    title: str
    sounds: Sequence[Sound]
    kind: str = "sounds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """Numbers side by side."""

    tiles: Sequence[Tile]
    kind: str = "tiles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells: text, numbers (set flush right), bars or players."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str | int | float | Bar | Player]]
    kind: str = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Drawings side by side, each (caption, SVG of :func:`figure_svg`)."""

    figures: Sequence[tuple[str, str]]
    wide: bool = False
    """Whether they are to be read, and not only seen: fewer stand side by side."""
    kind: str = "figures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A paragraph."""

    text: str
    kind: str = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Lines to copy, as they are."""

    text: str
    kind: str = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Tiles | Table | Figures | Sounds | Note | Code]


def write_page(path: Path, title: str, sections: Sequence[Section], *, subtitle: str = "") -> None:
    """Write the page to ``path``, whole or not at all."""
    write_text(path, render_page(title, sections, subtitle=subtitle))


def render_page(title: str, sections: Sequence[Section], *, subtitle: str = "") -> str:
    """Return the page as HTML."""
    return _template().render(title=title, subtitle=subtitle, sections=sections)


def figure_svg(
    draw: Callable[[Axes], None],
    *,
    inches: tuple[float, float] = FIGURE_INCHES,
    margins: dict[str, float] | None = None,
) -> str:
    """Return what ``draw`` puts on its axes as SVG whose colours follow the theme of the page.

    Args:
        draw: Given the axes; draws with :data:`ACCENT` and, for lines and text, :data:`INK`.
        inches: Width and height before the page scales the drawing.
        margins: Where the axes are, as parts of the figure; by default as the labels want it,
            which takes twice as long.
    """
    from io import StringIO

    from matplotlib import rc_context
    from matplotlib.figure import Figure

    out = StringIO()
    with rc_context(_figure_style()):
        figure = Figure(figsize=inches, layout=None if margins else "constrained")
        axes = figure.subplots(gridspec_kw=margins)
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return svg.replace(ACCENT, "var(--accent)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a figure, through points in order of ``x``."""

    label: str
    """Empty for a line that the legend does not name."""
    x: Sequence[float]
    y: Sequence[float]
    style: str = "-"
    """As matplotlib writes them: ``-``, ``--``, ``:``, ``-.``."""
    is_main: bool = True
    """Whether it is what the figure shows; else it is what that is compared with."""
    has_points: bool = False


def lines_svg(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    inches: tuple[float, float] = FIGURE_INCHES,
    from_zero: bool = False,
) -> str:
    """Return a figure of ``lines``; there is a legend as soon as one has a label.

    Args:
        lines: Those that are main are drawn in the accent.
        x_label: What ``x`` is.
        y_label: What ``y`` is, with its unit.
        inches: Width and height before the page scales the drawing.
        from_zero: Whether the axis of ``y`` begins at 0.
    """

    def draw(axes: Axes) -> None:
        for line in lines:
            axes.plot(
                line.x,
                line.y,
                line.style,
                color=ACCENT if line.is_main else INK,
                marker="o" if line.has_points and len(line.x) <= MOST_MARKERS else None,
                markersize=3,
                linewidth=1.5 if line.is_main else 1.0,
                label=line.label or None,
            )
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.ticklabel_format(axis="y", scilimits=(-3, 5), useMathText=True)
        if from_zero:
            axes.set_ylim(bottom=0)
        if labels := [line.label for line in lines if line.label]:
            columns = min(len(labels), LEGEND_COLUMNS)
            axes.legend(
                loc="lower left",
                bbox_to_anchor=(-0.1, 1),
                ncols=columns,
                frameon=False,
                columnspacing=1.0,
                handlelength=1.6,
                handletextpad=0.5,
            )

    return figure_svg(draw, inches=inches, margins=LINE_MARGINS)


def thinned(
    x: Sequence[float], y: Sequence[float], *, most: int, keep: Callable[[Any], float]
) -> tuple[list[float], list[float]]:
    """Return the points of a line, ``most`` at the most.

    Args:
        x: In order.
        y: As many.
        most: How many are left.
        keep: What stands for the neighbours that become one point, such as ``max`` or a mean.
    """
    if len(x) <= most:
        return list(x), list(y)
    edges = [len(x) * part // most for part in range(most + 1)]
    parts = list(pairwise(edges))
    return [x[end - 1] for _, end in parts], [float(keep(y[i:end])) for i, end in parts]


def image_pixels(values: Any, *, colors: str = "magma") -> Any:
    """Return numbers ``[rows, columns]`` as a picture ``[rows, columns, 3]`` uint8.

    The first row of the numbers is the lowest of the picture.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    return colormaps[colors](Normalize()(values), bytes=True)[::-1, :, :3]


def image_address(values: Any, *, colors: str = "magma") -> str:
    """Return numbers ``[rows, columns]``, the first row at the bottom, as a ``data:`` image."""
    from base64 import b64encode
    from io import BytesIO

    from matplotlib.image import imsave

    out = BytesIO()
    imsave(out, values, cmap=colors, origin="lower", format="png")
    return f"data:image/png;base64,{b64encode(out.getvalue()).decode()}"


def histogram_svg(values: Sequence[float] | Any, label: str, *, bins: int = 40) -> str:
    """Return a histogram of ``values`` (any sequence of numbers) over ``label``."""

    def draw(axes: Axes) -> None:
        axes.hist(values, bins=bins, color=ACCENT)
        axes.set_xlabel(label)
        axes.set_ylabel("clips")

    return figure_svg(draw)


def _figure_style() -> Any:
    colors = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    )
    return {"svg.fonttype": "none", "svg.hashsalt": "idiolect", "font.size": 9, **colors}


@cache
def _template() -> Template:
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
