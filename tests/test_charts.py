"""Plots as SVG: well-formed, inside their frame, every point and level there."""

from __future__ import annotations

from xml.etree import ElementTree as Tree

import pytest

from stillhouse.charts import Level, Line, Panel, Point, svg

SPACE = "{http://www.w3.org/2000/svg}"


def panel(*xs: float) -> Panel:
    points = tuple(Point(x=x, y=0.5, low=0.4, high=0.7) for x in xs)
    return Panel(
        title="coin & flip", x_label="D", lines=(Line(name="student <a>", points=points),), levels=(Level(name="random", y=1.0),)
    )


def test_points_stand_where_their_numbers_are() -> None:
    document = Tree.fromstring(svg([panel(1, 2, 4, 8), panel(3.0)]))
    circles = document.findall(f"{SPACE}circle")
    assert len(circles) == 5
    xs = [float(circle.attrib["cx"]) for circle in circles]
    assert [round(b - a, 1) for a, b in zip(xs[:3], xs[1:4], strict=True)] == [80.0] * 3  # doubling is a step of its axis
    assert {circle.attrib["cy"] for circle in circles} == {"144.0"}  # half of a frame from 34 to 254
    assert all(0 < x < float(document.attrib["width"]) for x in xs)
    texts = [text.text for text in document.findall(f"{SPACE}text")]
    assert texts.count("coin & flip") == 2 and texts.count("student <a>") == 1 and "random" in texts
    dashed = [line for line in document.findall(f"{SPACE}line") if "stroke-dasharray" in line.attrib]
    assert len(dashed) == 3  # one a panel, and the legend's


@pytest.mark.parametrize("panels", [[], [panel(0.0)], [panel(-1.0, 2.0)]])
def test_what_cannot_be_drawn_is_refused(panels: list[Panel]) -> None:
    with pytest.raises(ValueError, match="panel|above 0"):
        svg(panels)
