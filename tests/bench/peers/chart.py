"""A bar for each peer: CPU milliseconds of one order, by side. SVG by hand, because the smallest library for it is larger than the chart."""

from collections.abc import Mapping, Sequence
from html import escape

SIDES = {"client": "#4c78a8", "workers": "#f58518", "database": "#54a24b", "broker": "#b279a2"}
LEFT, WIDTH, ROW, BAR = 150, 560, 26, 18
STYLE = "font: 12px sans-serif; fill: #666"  # read on white and on black


def chart(bars: Mapping[str, Sequence[float]]) -> str:
    """``bars``: by name, the milliseconds of each side."""
    longest = max(sum(parts) for parts in bars.values())
    rows = [_bar(place, name, parts, WIDTH / longest) for place, (name, parts) in enumerate(bars.items())]
    height = ROW * (len(bars) + 2)
    legend = "".join(
        f'<rect x="{LEFT + 110 * place}" y="{height - 22}" width="12" height="12" fill="{colour}"/>'
        f'<text x="{LEFT + 110 * place + 18}" y="{height - 12}">{side}</text>'
        for place, (side, colour) in enumerate(SIDES.items())
    )
    title = "<title>CPU milliseconds of one order: client, workers, database and broker</title>"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 60} {height}" style="{STYLE}">'
    return "\n".join([head, title, *rows, legend, "</svg>\n"])


def _bar(place: int, name: str, parts: Sequence[float], scale: float) -> str:
    x, y = float(LEFT), ROW * place + 4
    drawn = [f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>']
    for part, colour in zip(parts, SIDES.values(), strict=True):
        drawn.append(f'<rect x="{x:.1f}" y="{y}" width="{part * scale:.1f}" height="{BAR}" fill="{colour}"/>')
        x += part * scale
    return "".join([*drawn, f'<text x="{x + 6:.1f}" y="{y + 13}">{sum(parts):.1f}</text>'])
