"""A frame of pixels that hold nothing, of which a file does not say so."""

from __future__ import annotations

from itertools import product

from decr.geo.grid import Window
from decr.geo.reader import reader
from decr.geo.scene import Scene

_CORNER_PX = 64
"""More than any shadow or water is one number in all bands."""


def doubt_of_frame(scene: Scene) -> str | None:
    """What to say of a scene at a corner of which all bands hold one number as data, 0 or less.

    Scenes on a map have such frames around what was seen. Not told, they are ground: they count in
    CCP, and clouds beside them grow into them. Bright frames are not looked for, for saturated
    clouds look the same.

    Raises
    ------
    SceneError
        If the file is damaged there.
    """
    grid = scene.grid
    side = min(_CORNER_PX, -(-grid.height // 4), -(-grid.width // 4))
    with reader(scene) as source:
        for row, col in product((0, grid.height - side), (0, grid.width - side)):
            dn, valid = source.read(Window(row, col, side, side))
            number = dn.flat[0]
            if number <= 0 and valid.all() and (dn == number).all():
                return (
                    f"{scene.path}: at a corner all bands are {number:g}, and nothing says that "
                    "such pixels hold no data; they count as ground and may change. If they hold "
                    f"none, make {number:g} the nodata value: rio edit-info --nodata {number:g}, "
                    f"or rio.write_nodata({number:g}) of an array"
                )
    return None
