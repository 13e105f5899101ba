"""All choices made for a scene before its cloud coverage is counted: pixels, detector or mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from decr.cloud.detector import Detector
from decr.config import CcpConfig, mask_named
from decr.coverage.sources import Source, mask_of
from decr.geo.frame import doubt_of_frame
from decr.geo.mask_file import MaskClasses
from decr.geo.missing import blackens, loses_mask
from decr.geo.names import without_keys
from decr.geo.scene import Scene, open_scene, overview_factors, overview_of
from decr.pipeline.range import radiometry_of
from decr.pipeline.survey import MaskSource, survey_factor
from decr.pipeline.words import warn
from decr.radiometry import Radiometry, for_detector, of_bytes, shows_reflectance


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreparedCcp:
    """A scene, and the choices made for it.

    Attributes
    ----------
    read, file_px
        Which part of the file is read (the file or an overview), in words; and how many of the
        file's pixels one of the scene's stands for.
    pixel_m
        Metres along both sides of a pixel, by the scene or as stated; None if nobody says.
    detector, radiometry
        With a mask, a detector that only has its name.
    k
        Scene pixels per cell.
    """

    scene: Scene
    read: str
    file_px: float
    pixel_m: tuple[float, float] | None
    detector: Detector
    mask: MaskSource | None
    radiometry: Radiometry
    k: int

    @property
    def gsd_m(self) -> float | None:
        """Mean of `pixel_m`."""
        return None if self.pixel_m is None else (self.pixel_m[0] + self.pixel_m[1]) / 2


def prepare_ccp(source: Source, config: CcpConfig, detector: Detector | None) -> PreparedCcp:
    """Open a scene and choose its detector or mask, its radiometry and its cells.

    Parameters
    ----------
    detector
        None where the user has masks.

    Raises
    ------
    DecrError
        For anything the user can mend.
    """
    scene, read, file_px = _opened(source, config, detector)
    stated = config.gsd_m or source.gsd_m
    if stated is not None:
        stated *= math.sqrt(file_px)
    gsd_m = scene.grid.gsd_m or stated
    pixel_m = scene.grid.pixel_m or (None if stated is None else (stated, stated))
    for warning in scene.guesses:
        warn(warning)
    if frame := doubt_of_frame(scene):
        warn(frame)
    if detector is None:
        masks = mask_named(config.detector)
        assert masks is not None
        classes = MaskClasses(tuple(config.cloudy), tuple(config.thin))
        mask = MaskSource(mask_of(masks, source), classes)
        # survey_scene wants a detector and a radiometry, and with a mask looks at neither.
        detector = Detector(f"file:{name_in_facts(masks)}", "", (), 0.0, _no_probability)
        radiometry, k = of_bytes(scene.count), 1
    else:
        mask, k = None, survey_factor(scene, detector, stated_gsd_m=gsd_m)
        detector = detector.for_scene(k, scene.bands.fed_roles)
        scene.feed(detector.bands, "detector")  # before other words of it, and naming the file
        _check_gsd(scene, detector, gsd_m, k)
        found = radiometry_of(scene, config.dn_range, detector.ranges)
        radiometry = for_detector(found, scene.range_dtype)
        if shows_reflectance(radiometry, scene.range_dtype):
            detector = detector.for_reflectance(scene.bands.fed_roles)
    return PreparedCcp(
        scene=scene,
        read=read,
        file_px=file_px,
        pixel_m=pixel_m,
        detector=detector,
        mask=mask,
        radiometry=radiometry,
        k=k,
    )


def name_in_facts(file: Path | str) -> str:
    """The name of a file in facts, which are passed on."""
    return PurePosixPath(without_keys(str(file))).name


def _no_probability(views: NDArray[np.float32]) -> NDArray[np.float32]:
    raise AssertionError("a mask is read, nothing is detected")


def _opened(
    source: Source, config: CcpConfig, detector: Detector | None
) -> tuple[Scene, str, float]:
    """The scene, or the coarsest of its overviews that is fine enough; which, in words.

    And how many pixels of the file are in each of these.
    """
    scene = open_scene(source.path, config.bands)
    if not config.fast or detector is None:
        return scene, "every pixel", 1.0
    k = survey_factor(scene, detector, stated_gsd_m=config.gsd_m or source.gsd_m)
    factors = overview_factors(source.path)
    fit = [level for level, factor in enumerate(factors) if factor <= k]
    if not fit:
        warn(
            f"{source.path}: has no overview that is fine enough; every pixel is read "
            f"(gdaladdo makes overviews)",
        )
        return scene, "every pixel, for want of overviews", 1.0
    if loses_mask(source.path, fit[-1], scene.bands):
        warn(
            f"{source.path}: its overview does not say which pixels its mask leaves out; every "
            f"pixel is read (gdaladdo -clean, then gdaladdo, makes overviews of both)",
        )
        return scene, "every pixel, for want of a mask in the overview", 1.0
    if blackens(source.path, fit[-1], scene.bands):
        warn(
            f"{source.path}: its overview may be black where near infrared, which the file calls "
            f"alpha, is 0; every pixel is read (gdal_translate -colorinterp_4 undefined, then "
            f"gdaladdo, makes overviews of all)",
        )
        return scene, "every pixel, as the overview may lack some", 1.0
    words = f"overview 1:{factors[fit[-1]]} of the file; pixels are its pixels"
    overview = overview_of(scene, fit[-1])
    return overview, words, scene.grid.window.area / overview.grid.window.area


def _check_gsd(scene: Scene, detector: Detector, gsd_m: float | None, k: int) -> None:
    """Warn where the detector sees what it was not made for."""
    if gsd_m is None:
        warn(
            "images that do not say how large their pixels are are looked at nearly pixel by "
            "pixel; say it with --gsd if you know it",
        )
        return
    low, high = detector.gsd_range_m
    if not low * 0.99 <= gsd_m * k <= high * 1.01:
        warn(
            f"{scene.path}: detector {detector.name} sees pixels of {gsd_m * k:.3g} m, but was "
            f"made for {low:g} to {high:g} m; trust its clouds less",
        )
