"""OmniCloudMask, a package of its own, as a detector.

Source: Wright et al., Remote Sensing of Environment 2025. It brings its weights by a download.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray

from decr.cloud.detector import Detector
from decr.device import pick_device
from decr.errors import ConfigError

Float32 = NDArray[np.float32]
_CLASSES = 4
"""Clear, thick cloud, thin cloud, cloud shadow."""


def omnicloudmask_detector(device: str) -> Detector:
    """OmniCloudMask on red, green and NIR at 10 m; it tells thin cloud from thick.

    Raises
    ------
    ConfigError
        If the package is not installed, or not as its documentation says.
    """
    try:
        from omnicloudmask import predict_from_array
    except ImportError as error:
        raise ConfigError(
            "the detector omnicloudmask is a package of its own; install it with "
            "pip install 'decr[omnicloudmask]'"
        ) from error
    target = str(pick_device(device))

    def probability(views: Float32) -> Float32:
        return np.stack([one(view) for view in views])

    def one(view: Float32) -> Float32:
        side = min(view.shape[1:])
        # One patch is one view, so that a view's result depends on that view alone; no number
        # stands for missing pixels, which decr has filled before.
        found = np.asarray(
            predict_from_array(
                view,
                patch_size=side,
                patch_overlap=side // 4,
                inference_device=target,
                export_confidence=True,
                no_data_value=-1,
                apply_no_data_mask=False,
            ),
            np.float32,
        )
        if found.shape != (_CLASSES, *view.shape[1:]):
            raise ConfigError(
                f"omnicloudmask answered {found.shape} for a view of {view.shape[1:]} px, wanted "
                f"{_CLASSES} classes; use version 1.7 or another that gives them"
            )
        return np.stack([found[1] + found[2], found[1]])

    try:
        release = version("omnicloudmask")
    except PackageNotFoundError:
        release = "unknown"
    return Detector(
        "omnicloudmask",
        release,
        ("red", "green", "nir"),
        10.0,
        probability,
        gsd_range_m=(5.0, 50.0),
        tells_thin=True,
    )
