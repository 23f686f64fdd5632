"""Draws faces from parameters: who somebody is, what the face does, and how it is photographed.

The demo data set is drawn with it, since FER2013, CK+ and KDEF may not be passed on. An expression is a
set of facial action units (Ekman & Friesen, Facial Action Coding System, 1978), each between 0 and 1; the
emotions' prototypes follow EMFACS. Positions are in face units: (0, 0) is the middle of the face, x points
to the right of the picture, y down, and the chin lies at about y = 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.emotions import CONTEMPT

Points = NDArray[np.float64]
Colour = tuple[float, float, float]
"""Blue, green, red, each 0..255."""

PROTOTYPES: dict[str, dict[int, float]] = {
    "neutral": {},
    "angry": {4: 1.0, 5: 0.45, 7: 0.8, 23: 0.9, 17: 0.3},
    "disgust": {9: 1.0, 10: 0.8, 4: 0.5, 7: 0.5, 15: 0.3, 17: 0.4},
    "fear": {1: 0.9, 2: 0.6, 4: 0.5, 5: 0.9, 20: 0.9, 25: 0.6, 26: 0.25},
    "happy": {6: 0.8, 12: 1.0, 25: 0.6},
    "sad": {1: 0.8, 4: 0.5, 15: 0.9, 17: 0.5, 7: 0.15},
    "surprise": {1: 0.9, 2: 1.0, 5: 0.9, 25: 0.6, 26: 1.0},
    CONTEMPT: {14: 1.0},
}
"""Action units of each emotion at full intensity (after EMFACS): 1 inner and 2 outer brow raiser, 4 brow lowerer,
5 upper lid raiser, 6 cheek raiser, 7 lid tightener, 9 nose wrinkler, 10 upper lip raiser, 12 lip corner puller,
14 dimpler (drawn on one side), 15 lip corner depressor, 17 chin raiser, 20 lip stretcher, 23 lip tightener,
25 lips part, 26 jaw drop."""


def expression(rng: np.random.Generator, emotion: str, intensity: float, mixture: float) -> dict[int, float]:
    """Draws the action units of one face.

    Args:
        rng: Source of the random part: how strongly each unit joins in, and which other emotion is mixed in.
        emotion: A key of `PROTOTYPES`.
        intensity: 0 (none to be seen) to 1 (fully shown).
        mixture: Share of a second emotion, 0 to 1.

    Returns:
        Action unit -> intensity, 0 to 1.
    """
    units: dict[int, float] = {}
    others = [name for name in PROTOTYPES if name != emotion]
    second = others[rng.integers(len(others))]
    for name, share in ((emotion, intensity), (second, mixture)):
        for unit, strength in PROTOTYPES[name].items():
            units[unit] = units.get(unit, 0.0) + strength * share * rng.uniform(0.7, 1.2)
    for unit in (1, 2, 4, 7, 12, 15, 25):  # nobody's face is ever quite at rest
        units[unit] = units.get(unit, 0.0) + rng.uniform(0, 0.12)
    return {unit: min(strength, 1.0) for unit, strength in units.items()}


@dataclass(frozen=True)
class Person:
    """What stays the same in all pictures of one person; sizes in face units, colours as B, G, R."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: float
    width: float
    jaw: float
    eye: float
    spacing: float
    brow: float
    nose: float
    mouth: float
    hairstyle: str
    beard: float
    glasses: bool
    age: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Person:
        """Draws a person."""
        tones = np.array([(205, 222, 245), (160, 190, 232), (120, 158, 208), (85, 120, 172), (55, 80, 125), (40, 55, 88)])
        at = rng.uniform(0, len(tones) - 1.001)
        skin = tones[int(at)] + (at % 1) * (tones[int(at) + 1] - tones[int(at)])
        hairs = [(25, 25, 30), (30, 45, 70), (45, 75, 115), (95, 150, 190), (50, 70, 140), (165, 165, 170)]
        bearded = rng.random() < 0.25
        return cls(
            skin=_colour(skin),
            hair=_colour(np.array(hairs[rng.integers(len(hairs))]) * rng.uniform(0.7, 1.2)),
            iris=_colour([(45, 60, 85), (110, 90, 60), (70, 95, 80), (25, 35, 50)][rng.integers(4)]),
            lips=rng.uniform(0.7, 1.3),
            width=rng.uniform(0.70, 0.82),
            jaw=rng.uniform(0.55, 0.95),
            eye=rng.uniform(0.13, 0.17),
            spacing=rng.uniform(0.31, 0.37),
            brow=rng.uniform(0.035, 0.075),
            nose=rng.uniform(0.85, 1.15),
            mouth=rng.uniform(0.26, 0.33),
            hairstyle=str(rng.choice(["bald", "short", "short", "fringe", "long", "long", "bun"])),
            beard=rng.uniform(0.3, 0.8) if bearded else 0.0,
            glasses=bool(rng.random() < 0.18),
            age=float(rng.beta(1.3, 2.0)),
        )


@dataclass(frozen=True)
class Shot:
    """How one picture is taken; angles in radians, sizes as shares of the picture."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    size: float = 0.44
    centre: tuple[float, float] = (0.5, 0.52)
    light: tuple[float, float] = (-0.2, -0.2)
    shade: float = 0.3
    background: Colour = (190, 190, 190)
    clutter: int = 0
    occlusion: str = ""
    blur: float = 0.0
    contrast: float = 1.0
    brightness: float = 0.0
    noise: float = 0.0
    seed: int = 0

    @classmethod
    def studio(cls, rng: np.random.Generator, background: Colour, size: float) -> Shot:
        """A frontal picture under even light, as in KDEF and CK+."""
        return cls(
            yaw=rng.normal(0, 0.04),
            pitch=rng.normal(0, 0.04),
            roll=rng.normal(0, 0.02),
            size=size * rng.uniform(0.96, 1.04),
            centre=(0.5 + rng.normal(0, 0.012), 0.51 + rng.normal(0, 0.012)),
            light=(rng.normal(0, 0.06), -0.15),
            background=background,
            noise=1.5,
            seed=int(rng.integers(2**31)),
        )

    @classmethod
    def wild(cls, rng: np.random.Generator) -> Shot:
        """A picture as found on the web: any pose, light, sharpness and background, as in FER2013."""
        return cls(
            yaw=rng.normal(0, 0.13),
            pitch=rng.normal(0, 0.08),
            roll=rng.normal(0, 0.08),
            size=rng.uniform(0.45, 0.53),
            centre=(0.5 + rng.normal(0, 0.02), 0.5 + rng.normal(0, 0.02)),
            light=(rng.normal(0, 0.2), rng.normal(-0.1, 0.15)),
            shade=rng.uniform(0.15, 0.4),
            background=_colour(rng.uniform(15, 235, 3)),
            clutter=int(rng.integers(0, 7)),
            occlusion=str(rng.choice(["", "hand", "shadow"], p=[0.93, 0.04, 0.03])),
            blur=float(rng.choice([0.0, 0.4, 0.8])),
            contrast=rng.uniform(0.8, 1.2),
            brightness=rng.normal(0, 12),
            noise=rng.uniform(0, 5),
            seed=int(rng.integers(2**31)),
        )


def draw(person: Person, units: dict[int, float], shot: Shot, width: int, height: int) -> NDArray[np.uint8]:
    """Draws one face.

    Args:
        person: Who.
        units: Action unit -> intensity 0..1 (see `PROTOTYPES`); units left out are 0.
        shot: How the picture is taken.
        width: Width of the picture in pixels.
        height: Height in pixels.

    Returns:
        The picture, uint8 (height, width, 3), blue-green-red as OpenCV has it.
    """
    rng = np.random.default_rng(shot.seed)
    easel = _Easel(person, units, shot, np.full((height, width, 3), shot.background, np.uint8))
    for _ in range(shot.clutter):
        corner, tint = rng.uniform(-2, 2, 2), _colour(rng.uniform(0, 255, 3))
        easel.flat(corner + rng.uniform(-0.9, 0.9, (5, 2)), tint)
    if shot.clutter:
        easel.canvas = cv2.GaussianBlur(easel.canvas, (0, 0), 0.04 * height)
    for part in (_body, _head, _nose, _lines, _eyes, _brows, _mouth, _hair, _glasses, _occlusion):
        part(easel)
    return _develop(easel, rng)


@dataclass
class _Easel:
    person: Person
    units: dict[int, float]
    shot: Shot
    canvas: NDArray[np.uint8]
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        shot, (height, width) = self.shot, self.canvas.shape[:2]
        self.scale = shot.size * height
        zoom = self.scale * 2**_SHIFT
        turn = zoom * np.array([(math.cos(shot.roll), math.sin(shot.roll)), (-math.sin(shot.roll), math.cos(shot.roll))])
        self._plane = np.array([[math.cos(shot.yaw)], [math.cos(shot.pitch)]]) * turn
        self._deep = 0.62 * np.array([math.sin(shot.yaw), math.sin(shot.pitch)]) @ turn
        self._origin = np.array(shot.centre) * (width, height) * 2**_SHIFT

    def au(self, unit: int) -> float:
        return self.units.get(unit, 0.0)

    def place(self, points: Points, deep: bool = True) -> NDArray[np.int32]:
        """Face units -> OpenCV's fixed-point pixels. Points that stand out of the head move with its yaw and pitch."""
        placed = points @ self._plane + self._origin
        if deep:
            depth = np.sqrt(np.maximum(1 - (points * points) @ _HEAD, 0))
            placed += depth[:, None] * self._deep
        pixels: NDArray[np.int32] = placed.astype(np.int32)
        return pixels

    def fill(self, points: Points, colour: Colour, deep: bool = True, strength: float = 1.0) -> None:
        """Fills a polygon; `strength` below 1 lets what is beneath show through."""
        self._paint(lambda target: cv2.fillPoly(target, [self.place(points, deep)], colour, cv2.LINE_AA, _SHIFT), strength)

    def flat(self, points: Points, colour: Colour) -> None:
        """Fills a polygon that lies in the plane of the head's outline."""
        self.fill(points, colour, deep=False)

    def line(self, points: Points, colour: Colour, thickness: float, strength: float = 1.0) -> None:
        """Draws a line through points, as thick as `thickness` face units."""
        pixels = max(1, round(thickness * self.scale))
        self._paint(
            lambda target: cv2.polylines(target, [self.place(points)], False, colour, pixels, cv2.LINE_AA, _SHIFT), strength
        )

    def _paint(self, stroke: Callable[[NDArray[np.uint8]], object], strength: float) -> None:
        if strength >= 1:
            stroke(self.canvas)
        elif strength >= 0.06:
            target = self.canvas.copy()
            stroke(target)
            cv2.addWeighted(target, strength, self.canvas, 1 - strength, 0, dst=self.canvas)

    def tone(self, factor: float) -> Colour:
        """The skin, darker or lighter by a factor."""
        return _colour(np.array(self.person.skin) * factor)


_HEAD = np.array([1.38, 0.69])
"""One over the squared half-axes of the ellipsoid that the head is."""

_SHIFT = 4
"""Fractional bits of the coordinates given to OpenCV."""


def _colour(values: object) -> Colour:
    blue, green, red = np.asarray(values, float).tolist()
    return min(max(blue, 0), 255), min(max(green, 0), 255), min(max(red, 0), 255)


@functools.cache
def _angles(start: float, end: float, count: int) -> tuple[Points, Points]:
    angles = np.linspace(start, end, count)
    return np.cos(angles), np.sin(angles)


def _arc(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 2 * np.pi, count: int = 24) -> Points:
    """Points of an ellipse's arc, from angle `start` to `end` (0 right, pi/2 down)."""
    cos, sin = _angles(start, end, count)
    return np.array([x + rx * cos, y + ry * sin]).T


def _curve(*points: tuple[float, float]) -> Points:
    """A quadratic Bezier curve through the first, towards the second, to the third point."""
    curve: Points = _BEZIER @ np.array(points)
    return curve


_BEZIER = np.array([((1 - t) ** 2, 2 * t * (1 - t), t**2) for t in np.linspace(0, 1, 9)])


def _body(e: _Easel) -> None:
    cloth = _colour(np.array(e.person.hair)[::-1] * 0.8 + 40)
    if e.person.hairstyle == "long":
        e.flat(np.concatenate([_arc(0, -0.25, 0.95, 1.0, np.pi, 2 * np.pi), [(0.98, 1.2), (-0.98, 1.2)]]), e.person.hair)
    e.flat(np.array([(-0.36, 0.6), (0.36, 0.6), (0.42, 1.5), (-0.42, 1.5)]), e.tone(0.72))
    e.flat(np.array([(-0.42, 1.18), (0.42, 1.18), (1.5, 1.6), (1.7, 3), (-1.7, 3), (-1.5, 1.6)]), cloth)


def _outline(e: _Easel) -> Points:
    """The head's outline: an ellipse whose lower half narrows to the chin, which sinks with the jaw."""
    cos, sin = _angles(0, 2 * np.pi, 48)
    below = np.clip(sin, 0, 1)
    x = cos * e.person.width * (1 - (0.32 - 0.24 * e.person.jaw) * below**1.5)
    y = np.where(sin > 0, sin * (1.0 + 0.1 * e.au(26) - 0.03 * e.au(17)), sin * 1.08)
    return np.stack([x, y], 1)


def _head(e: _Easel) -> None:
    for side in (-1, 1):
        e.flat(_arc(side * e.person.width * 0.99, 0.0, 0.11, 0.2), e.tone(0.85))
    e.flat(_outline(e), e.person.skin)
    if e.person.beard:
        low = _outline(e)
        low = low[low[:, 1] > 0.18]
        inner = np.concatenate([_arc(0, 0.24, e.person.width * 0.75, 0.2, np.pi, 0)])
        beard = np.array(e.person.hair) * e.person.beard + np.array(e.person.skin) * (1 - e.person.beard)
        e.flat(np.concatenate([low, inner]), _colour(beard))
    flush = 0.25 * e.au(6) + 0.2 * e.au(12)
    for side in (-1, 1):  # cheeks rise and catch the light in a smile
        if flush > 0.05:
            e.fill(_arc(side * 0.4, 0.24 - 0.08 * e.au(6), 0.17, 0.12), e.tone(1.25), strength=flush)


def _nose(e: _Easel) -> None:
    up = 0.05 * e.au(9)
    half, tip = 0.115 * e.person.nose * (1 + 0.2 * e.au(9)), 0.27 * e.person.nose - up
    e.line(_curve((-0.06, -0.12), (-0.08, 0.1), (-half, tip - 0.02)), e.tone(0.74), 0.02, 0.55)
    e.fill(_arc(0, tip - 0.02, half * 0.9, 0.075), e.tone(1.06))
    for side in (-1, 1):
        e.line(_arc(side * half, tip, 0.05, 0.06, 0, 2 * np.pi, 10), e.tone(0.78), 0.015, 0.5)
        e.fill(_arc(side * half * 0.55, tip + 0.045, 0.035, 0.02, count=10), e.tone(0.35))


def _lines(e: _Easel) -> None:
    age, dark = e.person.age, e.tone(0.6)
    rise = 0.05 * e.au(1)
    for row in (-0.72, -0.62, -0.53):
        e.line(_curve((-0.36, row), (0, row - 0.06 - rise), (0.36, row)), dark, 0.018, 0.5 * age + 0.55 * (e.au(1) + e.au(2)) / 2)
    for side in (-1, 1):
        frown = 0.8 * e.au(4) + 0.2 * age * e.au(9)
        e.line(np.array([(side * 0.06, -0.42), (side * 0.05, -0.26)]), dark, 0.025, frown)
        for step in range(3):  # wrinkles across the bridge of the nose
            e.line(
                _curve((0, -0.15 + 0.06 * step), (side * 0.06, -0.17 + 0.06 * step), (side * 0.11, -0.1 + 0.06 * step)),
                dark,
                0.02,
                0.85 * e.au(9),
            )
        fold = 0.3 * age + 0.6 * e.au(12) + 0.75 * e.au(9) + 0.55 * e.au(10) + 0.3 * e.au(20)
        wide = 0.09 * e.au(12) + 0.04 * e.au(20)
        e.line(_curve((side * 0.16, 0.2), (side * (0.34 + wide), 0.3), (side * (0.38 + wide), 0.55)), dark, 0.022, fold)
        for shift in (-0.05, 0.0, 0.05):  # crow's feet
            e.line(
                np.array([(side * 0.56, -0.12 + shift), (side * 0.66, -0.14 + 2.2 * shift)]), dark, 0.015, 0.4 * age + 0.5 * e.au(6)
            )
        e.line(
            _curve((side * 0.2, 0.03), (side * 0.33, 0.09), (side * 0.46, 0.02)),
            dark,
            0.018,
            0.35 * age + 0.4 * e.au(6) + 0.3 * e.au(7),
        )
    e.line(_curve((-0.12, 0.86), (0, 0.80), (0.12, 0.86)), dark, 0.02, 0.7 * e.au(17))


def _eyes(e: _Easel) -> None:
    p = e.person
    upper = p.eye * (0.52 + 0.42 * e.au(5) - 0.22 * e.au(7) - 0.12 * e.au(6) - 0.18 * e.au(9) - 0.1 * e.au(4))
    lower = p.eye * (0.40 + 0.08 * e.au(5) - 0.2 * e.au(7) - 0.24 * e.au(6) - 0.14 * e.au(9))
    upper, lower = max(upper, 0.02), max(lower, 0.008)
    droop = 0.035 * (e.au(1) * (1 - e.au(5)) + 0.4 * e.au(15))
    for side in (-1, 1):
        x, y = side * p.spacing, -0.1
        inner, outer = (x - side * p.eye, y + 0.015), (x + side * p.eye, y + droop)
        lid = _curve(inner, (x, y - 2 * upper), outer)
        rim = _curve(outer, (x, y + 2 * lower), inner)
        e.fill(_arc(x, y, p.eye * 1.25, p.eye * 0.95), e.tone(0.9))
        e.fill(np.concatenate([lid, rim]), (228, 232, 236))
        radius = p.eye * 0.52
        top, bottom = max(-radius, -upper), min(radius, lower)
        cos, sin = _angles(0, 2 * np.pi, 20)
        iris = np.array([x + radius * cos, y + np.minimum(np.maximum(radius * sin, top), bottom)]).T
        e.fill(iris, p.iris)
        pupil = np.array([x + 0.5 * radius * cos, y + np.minimum(np.maximum(0.5 * radius * sin, top), bottom)]).T
        e.fill(pupil, (12, 12, 14))
        e.fill(_arc(x - 0.3 * radius, y - min(0.35 * radius, upper * 0.6), 0.2 * radius, 0.2 * radius, count=8), (250, 250, 250))
        e.line(lid, (28, 30, 36), 0.028)
        e.line(rim, e.tone(0.55), 0.014, 0.8)


def _brows(e: _Easel) -> None:
    p = e.person
    for side in (-1, 1):
        frown = 0.09 * e.au(4) + 0.05 * e.au(9)
        inner = (side * (0.14 - 0.045 * e.au(4)), -0.34 - 0.13 * e.au(1) + frown)
        outer = (side * 0.52, -0.33 - 0.12 * e.au(2) + 0.02 * e.au(4) + 0.04 * e.au(1) * (1 - e.au(2)))
        middle = (side * 0.36, -0.45 - 0.08 * e.au(1) - 0.14 * e.au(2) + 0.7 * frown)
        curve = _curve(inner, middle, outer)
        taper = np.linspace(1, 0.35, len(curve))[:, None] * (0, p.brow)
        e.fill(np.concatenate([curve - taper * 0.6, (curve + taper * 0.6)[::-1]]), _colour(np.array(p.hair) * 0.75))


def _mouth(e: _Easel) -> None:
    p = e.person
    tight = 1 - 0.55 * e.au(23)
    half = p.mouth * (1 + 0.32 * e.au(12) + 0.35 * e.au(20) - 0.1 * e.au(23) - 0.22 * e.au(26) - 0.08 * e.au(17))
    y = 0.56 - 0.03 * e.au(17) - 0.02 * e.au(10)
    gape = 0.05 * e.au(25) + 0.26 * e.au(26) + 0.05 * e.au(12) * e.au(25)
    corner = y - 0.13 * e.au(12) + 0.11 * e.au(15) + 0.07 * e.au(20) + 0.35 * gape
    left, right = (-half, corner), (half, corner - 0.12 * e.au(14))
    lip = _colour(np.array(p.skin) * (0.62, 0.60, 0.80))
    full = 0.055 * p.lips * tight
    raised = 0.06 * e.au(10) + 0.02 * e.au(9)
    top, bottom = y - 0.35 * gape - raised - 0.03 * e.au(17), y + gape * (1.2 - 0.4 * e.au(20)) + 0.03 * e.au(20) - 0.03 * e.au(17)

    def bow(middle: float) -> Points:
        """A curve from corner to corner with its middle at a height."""
        return _curve(left, (0.0, 2 * middle - (left[1] + right[1]) / 2), right)

    outer_top, outer_bottom = bow(top - full * 0.9), bow(bottom + full * 1.35)
    e.fill(np.concatenate([outer_top, outer_bottom[::-1]]), lip)
    if gape > 0.02 or raised > 0.03:
        inside = np.concatenate([bow(top), bow(bottom)[::-1]])
        e.fill(inside, (28, 22, 48))
        teeth = min(0.5 * gape + 0.02, 0.07)
        e.fill(np.concatenate([bow(top), bow(min(top + teeth, bottom))[::-1]]), (222, 228, 232))
        if gape > 0.15:
            e.fill(_arc(0, bottom - 0.05, half * 0.55, 0.05), (90, 85, 165))
    else:
        e.line(bow((top + bottom) / 2), _colour(np.array(lip) * 0.5), 0.022)
    e.line(_curve((-0.12, bottom + 0.13), (0, bottom + 0.16), (0.12, bottom + 0.13)), e.tone(0.7), 0.02, 0.35 + 0.3 * e.au(17))
    for x, height in (left, right):
        e.fill(_arc(x, height, 0.022, 0.022, count=8), e.tone(0.5))
    if p.beard > 0.45:
        e.line(_curve((-half * 0.9, top - 0.05), (0, top - full - 0.14), (half * 0.9, top - 0.05)), p.hair, 0.05, 0.8)


def _hair(e: _Easel) -> None:
    p = e.person
    if p.hairstyle == "bald":
        return
    line = {"short": -0.78, "fringe": -0.55, "long": -0.72, "bun": -0.8}[p.hairstyle]
    wide = p.width * 1.06
    crown = _arc(0, -0.35, wide, 0.86, np.pi * 1.0, 2 * np.pi)
    front = _curve((wide * 0.97, -0.3), (0.1, 2 * line + 0.45), (-wide * 0.97, -0.3))
    e.flat(np.concatenate([crown, front]), p.hair)
    if p.hairstyle == "bun":
        e.flat(_arc(0, -1.25, 0.28, 0.2), p.hair)
    if p.hairstyle == "long":
        for side in (-1, 1):
            strand = [(side * wide * 0.8, -0.55), (side * wide, -0.4), (side * 1.0, 1.0), (side * 0.78, 1.0), (side * 0.76, 0.2)]
            e.flat(np.array(strand), _colour(np.array(p.hair) * 0.9))
    e.line(_curve((-0.3, -1.02), (0.0, -1.1), (0.35, -0.98)), _colour(np.array(p.hair) * 1.35 + 12), 0.05, 0.35)


def _glasses(e: _Easel) -> None:
    if not e.person.glasses:
        return
    frame = (30, 28, 28)
    for side in (-1, 1):
        e.line(_arc(side * e.person.spacing, -0.08, 0.23, 0.19), frame, 0.03)
        e.line(np.array([(side * 0.56, -0.12), (side * e.person.width, -0.1)]), frame, 0.025)
    e.line(_curve((-0.12, -0.1), (0, -0.16), (0.12, -0.1)), frame, 0.03)


def _occlusion(e: _Easel) -> None:
    side = 1 if e.shot.seed % 2 else -1
    if e.shot.occlusion == "hand":
        for finger in range(4):
            tip = (side * (0.25 + 0.13 * finger), 0.38 + 0.08 * finger)
            e.line(np.array([tip, (side * (0.5 + 0.12 * finger), 1.25)]), e.tone(0.92 - 0.04 * finger), 0.15)
    elif e.shot.occlusion == "shadow":
        dark = e.canvas.copy()
        edge = np.array([(side * 0.05, -2), (side * 3, -2), (side * 3, 3), (-side * 0.2, 3)])
        cv2.fillPoly(dark, [e.place(edge, deep=False)], (0, 0, 0), cv2.LINE_AA, _SHIFT)
        e.canvas = cv2.addWeighted(e.canvas, 0.5, dark, 0.5, 0)


@functools.lru_cache(maxsize=4)
def _grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return x, y


def _develop(e: _Easel, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Lights the picture (a sphere's shading), then blurs it, sets its contrast and adds the sensor's noise."""
    shot, (height, width) = e.shot, e.canvas.shape[:2]
    x, y = _grid(height, width)
    u = (x - shot.centre[0] * width) / e.scale
    v = (y - shot.centre[1] * height) / e.scale
    round_off = np.minimum(u * u / 0.75 + v * v / 1.2, 0.95)
    light = 1.1 + shot.light[0] * u + shot.light[1] * v - shot.shade * round_off
    noise = rng.standard_normal((height, width), np.float32) * shot.noise
    gain = np.clip(light, 0.25, 1.8) * shot.contrast
    offset = 128 * (1 - shot.contrast) + shot.brightness + noise
    picture = e.canvas * gain[..., None] + offset[..., None]
    developed: NDArray[np.uint8] = np.clip(picture, 0, 255).astype(np.uint8)
    if shot.blur:
        developed = cv2.GaussianBlur(developed, (0, 0), shot.blur * height / 96)
    return developed
