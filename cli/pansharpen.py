"""`decr pansharpen`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options as shared


@click.command()
@click.argument("pan")
@click.argument("ms")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="COG to write.")
@click.option(
    "--bands", metavar="LIST", help="Roles of the bands of MS in file order, such as b,g,r,n."
)
@click.option(
    "--weights",
    type=shared.Listed(float, "numbers", "0.2,0.3,0.3,0.2"),
    metavar="LIST",
    help="Share of each band of MS in PAN; all alike if absent.",
)
@click.option(
    "--resampling",
    type=click.Choice(["Cubic", "Nearest", "Bilinear", "CubicSpline", "Lanczos", "Average"]),
    default="Cubic",
    show_default=True,
    help="Of MS.",
)
def command(
    pan: str,
    ms: str,
    out: Path,
    bands: str | None,
    weights: tuple[float, ...] | None,
    resampling: str,
) -> None:
    """Put the colours of MS on PAN, both of one acquisition, by GDAL's weighted Brovey transform.

    CRS, transform, ground control points, RPCs (also of an .rpb file beside it), scale, offset and
    unit are those of PAN. What is missing in either image is masked in the output, and colours that
    resampling would take from what is missing in MS.

    \b
    Examples:
      decr pansharpen pan.tif ms.tif -o fused.tif
      decr pansharpen pan.tif ms.tif -o fused.tif --bands b,g,r,n --weights 0.1,0.3,0.3,0.3
    """
    from decr.geo.pansharpen import PansharpenOptions, pansharpen

    with shared.usage():
        options = PansharpenOptions(bands, weights, resampling)
    scene = pansharpen(pan, ms, out, options)
    size = f"{scene.grid.height} x {scene.grid.width} px"
    click.echo(f"{out}: {size}, {', '.join(scene.bands.data_roles)}")
