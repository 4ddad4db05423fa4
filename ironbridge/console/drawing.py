"""
This module works out where the map's boxes and arrows go. All of the drawing is in the template; here are only the
numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from ironbridge.console.picture import Arrow, Picture

WIDTH = 1180
_TOP = 36
_HEAD = 40
_ROW = 50
_GAP = 24
_TOPIC = 34
_CLOUD = 146
LEFT = (0, 430)
MIDDLE = (580, 244)
RIGHT = (910, 270)


@dataclass(frozen=True, slots=True)
class StreamLine:
    """A stream's line in its system's box."""

    arrow: Arrow
    y: int


@dataclass(frozen=True, slots=True)
class Box:
    name: str
    y: int
    height: int
    lines: tuple[StreamLine, ...]


@dataclass(frozen=True, slots=True)
class Pill:
    """A topic, and where it is drawn."""

    topic: str
    y: int


@dataclass(frozen=True, slots=True)
class Curve:
    """An arrow's path; `label` says between what."""

    path: str
    state: str


@dataclass(frozen=True, slots=True)
class Drawing:
    width: int
    height: int
    legacy: tuple[Box, ...]
    topics: tuple[Pill, ...]
    clouds: tuple[Box, ...]
    curves: tuple[Curve, ...]


def draw(picture: Picture) -> Drawing:
    """Three columns, each centred on the highest."""
    heights = [_HEAD + _ROW * len(place.arrows) for place in picture.legacy]
    left = sum(heights) + _GAP * max(len(heights) - 1, 0)
    middle = len(picture.topics) * (_TOPIC + 8) - 8
    right = len(picture.clouds) * (_CLOUD + _GAP) - _GAP
    height = max(left, middle, right, 60)
    legacy: list[Box] = []
    y = _TOP + (height - left) // 2
    for place, tall in zip(picture.legacy, heights, strict=True):
        lines = tuple(StreamLine(arrow, y + _HEAD + _ROW * i) for i, arrow in enumerate(place.arrows))
        legacy.append(Box(place.name, y, tall, lines))
        y += tall + _GAP
    top = _TOP + (height - middle) // 2
    topics = tuple(Pill(topic, top + i * (_TOPIC + 8)) for i, topic in enumerate(picture.topics))
    top = _TOP + (height - right) // 2
    clouds = tuple(
        Box(place.name, top + i * (_CLOUD + _GAP), _CLOUD, (StreamLine(place.arrows[0], 0),))
        for i, place in enumerate(picture.clouds)
    )
    curves = _curves(legacy, {pill.topic: pill.y for pill in topics}, clouds)
    return Drawing(WIDTH, height + _TOP + 4, tuple(legacy), topics, clouds, curves)


def _curves(legacy: list[Box], topics: dict[str, int], clouds: tuple[Box, ...]) -> tuple[Curve, ...]:
    curves = [
        Curve(_curve(sum(LEFT), line.y + _ROW // 2, MIDDLE[0], topics[topic] + _TOPIC // 2), line.arrow.state)
        for box in legacy
        for line in box.lines
        for topic in line.arrow.topics
    ]
    for box in clouds:
        arrow = box.lines[0].arrow
        step = box.height / (len(arrow.topics) + 1)
        for i, topic in enumerate(arrow.topics, 1):
            end = round(box.y + step * i)
            curves.append(Curve(_curve(sum(MIDDLE), topics[topic] + _TOPIC // 2, RIGHT[0], end), arrow.state))
    # What is well is drawn first, so that what is not lies over it.
    return tuple(sorted(curves, key=lambda c: c.state not in ("agrees", "busy")))


def _curve(x1: int, y1: int, x2: int, y2: int) -> str:
    bend = (x2 - x1) // 2
    return f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2 - 8} {y2}"
