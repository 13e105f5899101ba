"""Two acquisitions that sets are built of."""

from __future__ import annotations

import pytest
import rasterio

from tests.dataset.two_dates import BANDS, SIZE, TwoDates, two_dates, write


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> TwoDates:
    return two_dates(tmp_path_factory.mktemp("dates"))


@pytest.fixture(scope="module")
def few(dates: TwoDates, tmp_path_factory: pytest.TempPathFactory) -> TwoDates:
    """The lower three rows of four chips, for tests that build several sets."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "masks").mkdir()
    made = TwoDates(folder / "cloudy.tif", folder / "clear.tif", folder / "masks")
    for image, day in ((made.cloudy, "03"), (made.clear, "14")):
        for path, bands in ((image, BANDS), (made.masks / image.name, ("-",))):
            with rasterio.open(dates.cloudy.parent / path.relative_to(folder)) as file:
                part, nodata = file.read()[:, -3 * SIZE - 16 :, : 4 * SIZE + 16], file.nodata
            write(path, part, bands, nodata, TIFFTAG_DATETIME=f"2024:05:{day} 03:10:00")
    return made
