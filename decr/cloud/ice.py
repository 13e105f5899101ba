"""Snow, ice and bright water told from cloud by near infrared, where numbers are reflectance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from decr.cloud.detector import Detector, Float32

DARK_IN_NIR = 0.85
"""Near infrared over red below which nothing is cloud. Droplets scatter both alike, and land below
thin cloud adds near infrared; snow that melts, bare ice and turbid water are darker there. Of the
cloud in twelve labelled patches of Landsat and Sentinel-2 less than 0.1 % lies below; more would
take thin cloud over sea for ice, whose red outdoes its near infrared by what air adds."""


def without_ice(detector: Detector) -> Detector:
    """A detector that sees near infrared, too, and takes nothing for cloud that is dark in it.

    Its views must keep the ratio of the bands: see `decr.radiometry.shows_reflectance`.

    Parameters
    ----------
    detector
        One that takes red and no near infrared, not ``darkest``, and tells of any cloud alone.

    Returns
    -------
    Detector
        With near infrared as its last band, and without ``fine``.

    Examples
    --------
    >>> from decr.cloud.detector import threshold_detector
    >>> cloud, ice = [0.9, 0.9, 0.9, 0.9], [0.9, 0.9, 0.9, 0.7]
    >>> views = np.array([[cloud, ice]], "float32").transpose(0, 2, 1)[:, :, None]
    >>> without_ice(threshold_detector()).probability(views).round(1)
    array([[[1., 0.]]], dtype=float32)
    """
    red = detector.bands.index("red")

    def probability(views: Float32) -> Float32:
        found = detector.probability(views[:, :-1])
        return np.where(views[:, -1] < DARK_IN_NIR * views[:, red], np.float32(0), found)

    return replace(
        detector,
        version=f"{detector.version}, dark in near infrared: none",
        bands=(*detector.bands, "nir"),
        probability=probability,
        fine=(),
        ice=None,
    )
