"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource

from decr.config import DecloudConfig, Precision, WorkGsd

if TYPE_CHECKING:
    from decr.evaluation.tiles import PairSource

Decorator = Callable[[Any], Any]


def together(*options: Decorator) -> Decorator:
    """All these options as one decorator; the help has them in this order."""

    def add(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return add


class _Finite(click.FloatRange):
    """Refuses what measures nothing; click's own range lets NaN and infinity through."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not number < math.inf:
            word = "above" if self.min_open else "from"
            self.fail(f"{number:g} is not a number {word} {self.min:g}", param, ctx)
        return number


ABOVE_ZERO = _Finite(0, min_open=True)
FROM_ZERO = _Finite(0)


class Listed(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Values with commas between, as a tuple."""

    def __init__(
        self, kind: Callable[[str], Any], what: str, like: str, count: int | None = None
    ) -> None:
        self.name = what
        self.kind, self.like, self.count = kind, like, count

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        try:
            found = tuple(self.kind(part) for part in parts)
        except ValueError:
            found = ()
        if not all(parts) or not found or self.count not in (None, len(found)):
            self.fail(f"{value!r} is not {self.name} like {self.like}", param, ctx)
        return found


detector_option = click.option(
    "--detector",
    default="compact",
    show_default=True,
    metavar="NAME|FILE",
    help="What finds the clouds: compact (embedded), threshold, cloudnet, omnicloudmask, file:MASK "
    "(a mask of yours), a name that a package offers, or a detector's bundle file.",
)
bands_option = click.option(
    "--bands",
    metavar="LIST",
    help="Roles of the scene's bands in file order, such as b,g,r,n ('-' is left alone).",
)
range_option = click.option(
    "--range",
    "dn_range",
    type=Listed(float, "two numbers", "0,2047", 2),
    metavar="LOW,HIGH",
    help="DN that count as darkest and brightest, such as 0,2047; estimated if absent.",
)
threshold_option = click.option(
    "--threshold",
    type=float,
    default=0.5,
    show_default=True,
    help="Cloud probability from which a pixel is cloudy.",
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu or cuda."
)
precision_option = click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    default="auto",
    show_default=True,
    help="auto is bfloat16 where the device has units for it.",
)
layout_option = click.option(
    "--layout",
    metavar="NAME",
    help="How the set is arranged: manifest, folders, cuhk-cr, rice, rice1, rice2, t-cloud or whu; "
    "recognised if absent.",
)
clouds_options = together(
    detector_option, bands_option, range_option, threshold_option, device_option
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
lpips_options = together(
    click.option(
        "--lpips/--no-lpips", default=True, show_default=True, help="Whether LPIPS is measured."
    ),
    click.option(
        "--lpips-backbone",
        "backbone",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="AlexNet's weights (torchvision .pth, or .npz); else DECR_LPIPS_BACKBONE, else "
        "torch's cache. Nothing is downloaded.",
    ),
)


def folder_option(what: str) -> Decorator:
    """``--out``, a folder for what a command else only prints."""
    return click.option(
        "-o",
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="FOLDER",
        help=f"Write {what} there; only print if absent.",
    )


def gsd_option(what: str) -> Decorator:
    """``--gsd``, metres."""
    return click.option("--gsd", "gsd_m", type=ABOVE_ZERO, metavar="METRES", help=what)


def json_option(what: str) -> Decorator:
    """``--json``, which prints this."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON.")


restoration_options = together(
    click.option(
        "--model",
        default="embedded",
        show_default=True,
        metavar="NAME|FILE",
        help="Embedded model or bundle file; see `decr models list`.",
    ),
    detector_option,
    bands_option,
    range_option,
    click.option(
        "--tile", "tile_px", type=int, default=256, show_default=True, help="Side of a tile, px."
    ),
    click.option(
        "--overlap",
        "overlap_px",
        type=int,
        default=64,
        show_default=True,
        help="Pixels that neighbouring tiles share.",
    ),
    click.option("--steps", type=int, help="DDIM steps; the model's own number if absent."),
    click.option(
        "--prior-floor", type=float, help="Least weight of the reference (the paper's eta), 0..1."
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of the noise field."),
    click.option(
        "--full",
        is_flag=True,
        help="Restore every valid pixel, as the paper does, not only cloudy ones.",
    ),
    click.option(
        "--cloud-mask",
        metavar="RASTER",
        help="Your own mask instead of a detector: non-zero is cloudy. With --margin 0 --feather 0 "
        "exactly these pixels may change; else the detector's cells that hold one (of about 4 m, "
        "or a pixel if that is larger), grown and faded.",
    ),
    threshold_option,
    click.option(
        "--margin",
        "margin_m",
        type=float,
        default=12.0,
        show_default=True,
        help="Grow clouds by this many metres, in whole cells of the detector: by one and by 3 "
        "pixels at least, unless 0.",
    ),
    click.option(
        "--feather",
        "feather_m",
        type=float,
        default=16.0,
        show_default=True,
        help="Then fade the change out over this many metres, and 4 pixels at least, unless 0.",
    ),
    click.option(
        "--ground/--no-ground",
        default=True,
        show_default=True,
        help="Under clouds, draw restored tiles towards the level of clear ground nearby.",
    ),
    click.option(
        "--aoi",
        type=click.Path(path_type=Path),
        help="GeoJSON polygons that limit what is restored. The whole scene is read and written "
        "all the same.",
    ),
    click.option(
        "--error-map",
        is_flag=True,
        help="Also write NAME_error.tif beside the output: the expected absolute error of restored "
        "pixels, DN. The model needs a table for it, see `decr models calibrate`.",
    ),
    click.option(
        "--gsd",
        type=click.Choice(get_args(WorkGsd)),
        default="native",
        show_default=True,
        help="Work at the scene's pixel size or the model's.",
    ),
    click.option(
        "--batch",
        type=int,
        default=4,
        show_default=True,
        help="Tiles handed over at once per tile computed side by side; the result stays.",
    ),
    device_option,
    precision_option,
    click.option(
        "--compile/--no-compile",
        default=False,
        show_default=True,
        help="Compile the networks with torch first: takes minutes, needs a C++ compiler.",
    ),
)
"""Every option that decides a restoration (they match `decr.config.DecloudConfig`)."""

pairs_options = together(
    click.option(
        "--data",
        type=click.Path(path_type=Path),
        required=True,
        metavar="DIR",
        help="Folder with a set of pairs; see docs/howto/own_pairs.md.",
    ),
    layout_option,
    click.option(
        "--split",
        type=click.Choice(["train", "val", "test", "all"]),
        default="test",
        show_default=True,
        help="Which pairs of the set; take some that the model was not trained on.",
    ),
    bands_option,
    gsd_option("Metres per pixel, for files that do not say."),
    click.option(
        "--white",
        type=ABOVE_ZERO,
        help="DN as bright as cloud; for 8-bit images 255 at the most, which is theirs if absent.",
    ),
)
"""The options that `source_from` takes."""


def source_from(options: dict[str, Any]) -> PairSource:
    """Where pairs come from, by parsed options, which are taken out of them."""
    from decr.evaluation.tiles import PairSource

    fields = ("data", "layout", "split", "bands", "gsd_m", "white")
    return PairSource(**{field: options.pop(field) for field in fields})


@contextmanager
def usage() -> Iterator[None]:
    """A value that cannot work is a usage error: exit code 2, like one that click refuses."""
    from decr.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def config_from(options: dict[str, Any]) -> DecloudConfig:
    """A `DecloudConfig` from parsed options; a bad value is a usage error."""
    mask, detector = options.get("cloud_mask"), options["detector"]
    context = click.get_current_context(silent=True)
    chosen = context is not None and (
        context.get_parameter_source("detector") is ParameterSource.COMMANDLINE
    )
    if mask is not None and chosen and not detector.startswith("file:"):
        raise click.UsageError(
            f"--cloud-mask {mask} goes instead of a detector, so --detector {detector} would have "
            "no effect; drop one of them"
        )
    with usage():
        return DecloudConfig(**options)
