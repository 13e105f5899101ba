"""Writing: scenes that come from unusual places or are stored in unusual ways."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from affine import Affine
from PIL import ImageCms
from rio_cogeo import cog_validate

from decr.errors import DecrWarning
from decr.geo.metadata import compare_metadata
from decr.geo.output import write_cog
from tests.geo.full_scenes import make

ROOT = Path(__file__).parents[2]


def carried(source: str, out: Path) -> Path:
    """Write a copy, and check that it is one."""
    work = out.with_suffix(".work")
    work.mkdir()
    write_cog(source, [], out, {"SEED": "0"}, work)
    with rasterio.open(source) as a, rasterio.open(out) as b:
        np.testing.assert_array_equal(b.read(), a.read())
        np.testing.assert_array_equal(b.dataset_mask(), a.dataset_mask())
    assert compare_metadata(source, out) == []
    assert cog_validate(out, strict=True)[0]
    return out


def noise(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape).astype(dtype)


def test_packed_bits_come_out_as_numbers(tmp_path: Path) -> None:
    pixels = np.arange(3 * 64 * 64).reshape(3, 64, 64).astype("uint16") % 2048
    profile = {"driver": "GTiff", "height": 64, "width": 64, "dtype": "uint16", "nbits": 11}
    with rasterio.open(tmp_path / "s.tif", "w", count=3, **profile) as file:
        file.write(pixels)
    carried(str(tmp_path / "s.tif"), tmp_path / "o.tif")


def test_a_source_in_lossy_ycbcr_becomes_lossless(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "height": 300, "width": 300, "dtype": "uint8"}
    profile |= {"compress": "JPEG", "photometric": "YCBCR", "tiled": True, "crs": "EPSG:32650"}
    with rasterio.open(tmp_path / "s.tif", "w", count=3, **profile) as file:
        file.write(noise(3, 300, 300))
    out = carried(str(tmp_path / "s.tif"), tmp_path / "o.tif")
    with rasterio.open(out) as file:
        assert file.compression.name in ("zstd", "deflate")


def test_jpeg_with_its_georeference_in_a_sidecar(tmp_path: Path) -> None:
    profile = {"driver": "JPEG", "height": 80, "width": 90, "dtype": "uint8", "crs": "EPSG:32650"}
    source = tmp_path / "s.jpg"
    with rasterio.open(
        source, "w", count=3, transform=Affine(1, 0, 5, 0, -1, 7), **profile
    ) as file:
        file.write(noise(3, 80, 90))
    assert (tmp_path / "s.jpg.aux.xml").exists()
    with rasterio.open(carried(str(source), tmp_path / "o.tif")) as file:
        assert file.transform == Affine(1, 0, 5, 0, -1, 7)


def test_tags_that_live_in_sidecars_or_in_tiff_tags_of_their_own(tmp_path: Path) -> None:
    source = make(tmp_path / "s.tif", "rpc")
    with rasterio.open(source, "r+") as file:
        # GDAL keeps this domain in a file s.IMD beside the scene.
        file.update_tags(ns="IMD", satId="WV03", cloudCover="0.2")
        file.update_tags(2, ns="ODD", quote="\"'<&>", lines="a\nb", ключ="знач")
    assert (tmp_path / "s.IMD").exists()
    out = carried(str(source), tmp_path / "o.tif")
    with rasterio.open(out) as file:
        assert file.tags(ns="IMD") == {"satId": "WV03", "cloudCover": "0.2"}
        assert file.tags(2, ns="ODD")["quote"] == "\"'<&>"
        assert file.rpcs.line_num_coeff[2] == pytest.approx(2 / 7, rel=1e-14)
    assert sorted(p.name for p in tmp_path.glob("o*")) == ["o.tif", "o.work"]


def test_documents_and_texts_that_other_programs_wrote(tmp_path: Path) -> None:
    xmp = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">  <rdf:RDF><Metadata>ü</Metadata>\n  </rdf:RDF>'
        '</x:xmpmeta>\n  <?xpacket end="w"?>'
    )
    rights = "© someone".encode("latin-1")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = [
        (700, 1, len(xmp.encode()), xmp.encode(), True),
        (33432, 2, 0, rights, True),
        (34675, 7, len(profile), profile, True),
    ]
    source = tmp_path / "s.tif"
    tifffile.imwrite(source, noise(600, 40, 3), photometric="rgb", extratags=tags)
    out, work = tmp_path / "o.tif", tmp_path / "work"
    work.mkdir()
    write_cog(str(source), [], out, {"SEED": "0"}, work)
    assert compare_metadata(source, out) == []
    assert cog_validate(out, strict=True)[0]
    with tifffile.TiffFile(out) as file:
        written = file.pages[0].tags
        assert written[700].value == xmp.encode()
        assert written[33432].value == "© someone"
        assert written[34675].value == profile


def test_virtual_raster_with_a_band_left_out(tmp_path: Path) -> None:
    make(tmp_path / "s.tif", "mask")
    (tmp_path / "v.vrt").write_text(one_band_vrt("<ColorInterp>Gray</ColorInterp>"))
    carried(str(tmp_path / "v.vrt"), tmp_path / "o.tif")


def test_a_nodata_number_that_a_virtual_raster_hides_stays_hidden(tmp_path: Path) -> None:
    make(tmp_path / "s.tif", "mask")
    hidden = "<NoDataValue>7</NoDataValue><HideNoDataValue>1</HideNoDataValue>"
    (tmp_path / "v.vrt").write_text(one_band_vrt(f"<ColorInterp>Gray</ColorInterp>{hidden}"))
    out = carried(str(tmp_path / "v.vrt"), tmp_path / "o.tif")
    with rasterio.open(out) as file:
        assert file.nodata is None


def test_what_a_geotiff_cannot_say_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = make(tmp_path / "s.tif", "plain"), tmp_path / "o.tif"
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr("decr.geo.output.compare_metadata", lambda a, b: ["band 2 unit: m -> None"])
    with pytest.warns(DecrWarning, match=r"o\.tif: .* all that .*s\.tif says: band 2 unit: m -> "):
        write_cog(str(source), [], out, {"SEED": "0"}, work)


def one_band_vrt(colour: str) -> str:
    """A virtual raster of one band of ``s.tif``, scaled, with a part of its overview."""
    return f"""<VRTDataset rasterXSize="700" rasterYSize="600">
      <VRTRasterBand dataType="UInt16" band="1"><Description>only &amp; one</Description>
      {colour}<Overview><SourceFilename relativeToVRT="1">s.tif</SourceFilename>
      <SourceBand>4</SourceBand></Overview><ComplexSource>
      <SourceFilename relativeToVRT="1">s.tif</SourceFilename><SourceBand>2</SourceBand>
      <ScaleOffset>5</ScaleOffset><ScaleRatio>2</ScaleRatio></ComplexSource>
      </VRTRasterBand></VRTDataset>"""


def test_a_source_in_an_archive_is_carried_over(tmp_path: Path) -> None:
    make(tmp_path / "s & ü.tif", "mask")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "s & ü.tif", "in/s & ü.tif")
    carried(f"/vsizip/{tmp_path}/a.zip/in/s & ü.tif", tmp_path / "o.tif")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.geo.range_server", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def test_a_source_at_an_address_is_carried_over(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    make(tmp_path / "s.tif", "tags")
    carried(f"{server}/s.tif", tmp_path / "o.tif")


def test_what_a_geotiff_cannot_say_is_said_to_the_user(tmp_path: Path) -> None:
    source = make(tmp_path / "s.tif", "plain")
    (tmp_path / "s.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category>water</Category>'
        "</CategoryNames></PAMRasterBand></PAMDataset>"
    )
    work = tmp_path / "work"
    work.mkdir()
    with pytest.warns(DecrWarning, match=r"band 1 categories: \['water'\]"):
        write_cog(str(source), [], tmp_path / "o.tif", {}, work)
    assert not (tmp_path / "o.tif.aux.xml").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error", DecrWarning)
        (tmp_path / "s.tif.aux.xml").unlink()
        write_cog(str(source), [], tmp_path / "o.tif", {}, work)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
def test_a_full_disk_is_explained_and_leaves_no_output(tmp_path: Path, share: float) -> None:
    source, work = make(tmp_path / "s.tif", "mask"), tmp_path / "work"
    work.mkdir()
    write_cog(str(source), [], tmp_path / "o.tif", {}, work)
    limit = int((tmp_path / "o.tif").stat().st_size * share)
    (tmp_path / "o.tif").unlink()
    # Files that may not grow further behave like a full disk, in a process of its own.
    code = f"""
        import resource, signal
        from pathlib import Path
        from decr.errors import OutputError
        from decr.geo.output import write_cog
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            write_cog({str(source)!r}, [], Path({str(tmp_path / "o.tif")!r}), {{}},
                      Path({str(work)!r}))
        except OutputError as error:
            print(error)
    """
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "o.tif: " in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
    assert not (tmp_path / "o.tif").exists()
    assert not [*work.iterdir()]


@pytest.mark.parametrize("how", ["srcwin=50,60,100,120", "bands=3,2,1", "unscale=true&ot=Float32"])
def test_a_virtual_raster_that_is_no_file_is_carried_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.chdir(tmp_path)
    profile = {"driver": "GTiff", "height": 300, "width": 300, "dtype": "uint8"}
    with rasterio.open("s.tif", "w", count=3, crs="EPSG:32650", **profile) as file:
        file.write(noise(3, 300, 300))
        file.scales, file.offsets = (0.5,) * 3, (3.0,) * 3
    carried(f"vrt://s.tif?{how}", tmp_path / "o.tif")


def test_a_crs_that_a_geotiff_cannot_hold_is_told(tmp_path: Path) -> None:
    pole = "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180"
    profile = {"driver": "GTiff", "height": 40, "width": 40, "dtype": "uint8"}
    place = {"crs": f"{pole} +to_meter=0.0174532925199433", "transform": Affine(1, 0, 5, 0, -1, 7)}
    with rasterio.open(tmp_path / "s.tif", "w", count=3, **profile, **place) as file:
        file.write(noise(3, 40, 40))
    (tmp_path / "work").mkdir()
    with pytest.warns(DecrWarning, match="CRS"):
        write_cog(str(tmp_path / "s.tif"), [], tmp_path / "o.tif", {}, tmp_path / "work")
