"""One page of HTML that needs nothing beside it: figures inside, players by path, light and dark.

A page is sections of blocks; a block is tiles, a table, figures or a note. Every text is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.base.files import write_text

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.axes import Axes

TEMPLATE = Path(__file__).with_name("page.html.jinja")
FIGURE_INCHES = (3.6, 2.2)

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


def figure_svg(draw: Callable[[Axes], None], *, inches: tuple[float, float] = FIGURE_INCHES) -> str:
    """Return what ``draw`` puts on its axes as SVG whose colours follow the theme of the page.

    Args:
        draw: Given the axes; draws with :data:`ACCENT` and, for lines and text, :data:`INK`.
        inches: Width and height before the page scales the drawing.
    """
    from io import StringIO

    from matplotlib import rc_context
    from matplotlib.figure import Figure

    out = StringIO()
    with rc_context(_figure_style()):
        figure = Figure(figsize=inches, layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return svg.replace(ACCENT, "var(--accent)")


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
