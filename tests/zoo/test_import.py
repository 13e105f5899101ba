"""Tests of importing: which files make a model together, and what the bundle says of itself."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from decr.errors import BandError, BundleError, ConfigError, DecrError, OutputError
from decr.zoo.bundle import Bundle, check_output, load_bundle
from decr.zoo.describe import described
from decr.zoo.imports import KNOWN, import_checkpoint
from tests.zoo import checkpoints
from tests.zoo.checkpoints import SMALL, de_checkpoint, keras_arrays, network, published

RGB, RGBN = ("red", "green", "blue"), ("red", "green", "blue", "nir")
REFERENCES = ("memorynet", "msda", "spagan", "amgan", "cvae")


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.make_sizes_small(monkeypatch)


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path)
    return path


def small_state(name: str, bands: int) -> dict[str, Tensor]:
    """A published state dict of a small network; "de" is both halves."""
    if name == "de":
        pair = [network(n, bands, SMALL[n], seed) for seed, n in enumerate(("cnp", "wa"))]
        return de_checkpoint(*pair)
    return published(name, network(name, bands, SMALL[name]))


def imported(path: Path, out: Path, **card: Any) -> Bundle:
    """Import, and load what was written; the card returned must be the card inside."""
    said = import_checkpoint(path, out, **card)
    bundle = load_bundle(out)
    assert json.loads(json.dumps(said.provenance)) == bundle.card.provenance
    assert (said.name, said.bands, said.parts) == (
        bundle.card.name,
        bundle.card.bands,
        bundle.card.parts,
    )
    return bundle


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize(
    ("name", "bands"),
    [(name, bands) for name in REFERENCES for bands in (3, 4) if name != "msda"],
)
def test_a_reference_alone_becomes_a_bundle_that_restores_as_it_did(
    tmp_path: Path, name: str, bands: int
) -> None:
    net = network(name, bands, SMALL[name])
    path = saved(tmp_path / "weights.pth", published(name, net))
    bundle = imported(path, tmp_path / "b.safetensors")
    card = bundle.card
    assert card.parts["reference"].architecture == name
    assert card.bands == (RGB if bands == 3 else RGBN)
    assert (card.name, card.gsd_m, card.licence) == ("weights", 1.0, "not stated")
    assert card.ranges == {"uint8": (0.0, 255.0)}
    side = 256 if name == "cvae" else 16
    image = torch.rand(1, bands, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(bundle.networks["reference"](image), net(image))


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize(("reference", "bands"), [*((r, 3) for r in REFERENCES), ("cvae", 4)])
def test_a_de_checkpoint_with_each_reference(tmp_path: Path, reference: str, bands: int) -> None:
    path = saved(tmp_path / "ema_0.9999_100000.pt", small_state("de", bands))
    other = saved(tmp_path / "other.pth", small_state(reference, bands))
    bundle = imported(path, tmp_path / "b.safetensors", reference=other, as_name="de")
    architectures = {part: p.architecture for part, p in bundle.card.parts.items()}
    assert architectures == {"cnp": "cnp", "wa": "wa", "reference": reference}
    assert (bundle.card.steps, bundle.card.prior_floor) == (50, 0.3)
    assert bundle.card.name == "ema_0.9999_100000"


def test_a_published_de_checkpoint_is_recognised(tmp_path: Path) -> None:
    state = de_checkpoint(network("cnp", 4), network("wa", 4))
    path = saved(tmp_path / "ema.pt", {f"module.{key}": value for key, value in state.items()})
    other = saved(tmp_path / "mn.pth", published("memorynet", network("memorynet", 4)))
    bundle = imported(path, tmp_path / "b.safetensors", reference=other)
    assert sum(p.numel() for p in bundle.networks["cnp"].parameters()) == 32_144_740
    for key, value in state.items():
        part = "wa" if key.startswith("sjlnet.") else "cnp"
        mine = bundle.networks[part].state_dict()[f"unet.{key.removeprefix('sjlnet.')}"]
        assert torch.equal(mine, value)


@pytest.mark.usefixtures("small_sizes")
def test_the_first_stage_alone_becomes_a_bundle_without_a_prior_floor(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pt", small_state("cnp", 3))
    bundle = imported(path, tmp_path / "b.safetensors", as_name="cnp")
    assert set(bundle.card.parts) == {"cnp"}
    text = described(bundle)
    assert "50 DDIM steps of 1000" in text
    assert "prior floor" not in text


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize("bands", [3, 4])
def test_a_cloud_net_becomes_a_detector_that_finds_as_it_did(tmp_path: Path, bands: int) -> None:
    net = network("cloudnet", bands, SMALL["cloudnet"])
    checkpoints.keras_archive(tmp_path / "c.keras", keras_arrays(net), first=0)
    bundle = imported(tmp_path / "c.keras", tmp_path / "b.safetensors")
    assert set(bundle.card.parts) == {"detector"}
    assert bundle.card.bands == (RGB if bands == 3 else RGBN)
    assert bundle.card.gsd_m == 30.0
    assert bundle.card.ranges == {"uint16": (0.0, 65535.0)}
    assert "DN / 65535" in described(bundle)
    image = torch.rand(1, bands, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(bundle.networks["detector"](image), net(image))


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize(
    ("main", "reference", "says"),
    [
        (("de", 3), None, "pass its checkpoint as --reference"),
        (("wa", 3), None, "alone; pass the DE checkpoint"),
        (("wa", 3), ("amgan", 3), "alone; pass the DE checkpoint"),
        (("cnp", 3), ("amgan", 3), "lacks the weight allocator"),
        (("spagan", 3), ("amgan", 3), "lacks a noise predictor"),
        (("de", 3), ("cloudnet", 3), "holds Cloud-Net, not a reference network"),
        (("de", 3), ("amgan", 4), "takes 4 bands, .* 3"),
    ],
)
def test_files_that_make_no_model_are_refused_and_nothing_is_written(
    tmp_path: Path, main: tuple[str, int], reference: tuple[str, int] | None, says: str
) -> None:
    path, other, out = tmp_path / "main.pt", None, tmp_path / "b.safetensors"
    saved(path, small_state(*main))
    if reference:
        other = tmp_path / "other.h5"
        if reference[0] == "cloudnet":
            net = network("cloudnet", 3, SMALL["cloudnet"])
            checkpoints.h5_weights(other, keras_arrays(net))
        else:
            saved(other, small_state(*reference))
    with pytest.raises(BundleError, match=says) as caught:
        import_checkpoint(path, out, as_name=main[0], reference=other)
    assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.fixture
def spagan(tmp_path: Path) -> Path:
    return saved(tmp_path / "weights.pth", published("spagan", network("spagan", 3)))


def test_the_user_has_the_last_word(tmp_path: Path, spagan: Path) -> None:
    card = imported(
        spagan, tmp_path / "b", name="mine", bands="b,g,r", gsd_m=0.5, licence="CC0"
    ).card
    assert (card.name, card.bands, card.gsd_m) == ("mine", ("blue", "green", "red"), 0.5)
    assert card.licence == "CC0"
    assert "band order as stated when imported" in card.provenance["notes"]


def test_where_it_comes_from_is_said(tmp_path: Path, spagan: Path) -> None:
    bundle = imported(spagan, tmp_path / "b")
    said, digest = bundle.card.provenance, hashlib.sha256(spagan.read_bytes()).hexdigest()
    assert (said["source"], said["source_sha256"]) == ("weights.pth", digest)
    assert said["source_holds"] == "SpA-GAN generator"
    assert said["published_values"] == "reference 8-bit values / 255"
    assert any("original SpA-GAN code take blue, green, red" in note for note in said["notes"])
    text = described(bundle)
    wanted = (
        *("red, green, blue (in this order)", "1 m", "uint8 0 to 255", "not stated", digest),
        *("spagan (published size, width 32), 219,300 parameters", bundle.sha256),
    )
    assert all(part in text for part in wanted)
    assert str(tmp_path) not in text


@pytest.mark.usefixtures("small_sizes")
def test_widths_of_all_parts_are_shown(tmp_path: Path) -> None:
    path = saved(tmp_path / "ema.pt", small_state("de", 3))
    other = saved(tmp_path / "mn.pth", small_state("memorynet", 3))
    text = described(imported(path, tmp_path / "b", reference=other, as_name="de"))
    for part in (
        "cnp (published size, width 8, multipliers 1 2, blocks 1)",
        "memorynet (published size, width 40, growth 20, extra 16, blocks 8)",
        "50 DDIM steps of 1000 (linear schedule), prior floor 0.3",
    ):
        assert part in text


def test_the_same_files_give_the_same_bytes(tmp_path: Path, spagan: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "folder" / "two"
    two.parent.mkdir()
    import_checkpoint(spagan, one)
    copy = two.parent / spagan.name
    copy.write_bytes(spagan.read_bytes())
    import_checkpoint(copy, two)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("card", "error", "says"),
    [
        ({"bands": "b,g"}, BandError, "2 bands but .* has 3"),
        ({"bands": "b,g,x"}, BandError, "unknown band 'x'"),
        ({"bands": "b,g,g"}, BandError, "appears twice"),
        ({"bands": "b,g,-"}, BandError, "take blue, green, red, nir, not -"),
        ({"bands": "b,g,p"}, BandError, "not pan"),
        ({"gsd_m": 0.0}, ConfigError, "positive number of metres"),
        ({"gsd_m": float("nan")}, ConfigError, "positive number of metres"),
        ({"as_name": "msda"}, BundleError, "lacks tensor"),
    ],
)
def test_cards_that_cannot_be_are_refused_and_nothing_is_written(
    tmp_path: Path, spagan: Path, card: dict[str, Any], error: type[DecrError], says: str
) -> None:
    out = tmp_path / "b.safetensors"
    with pytest.raises(error, match=says):
        import_checkpoint(spagan, out, **card)
    assert list(tmp_path.iterdir()) == [spagan]


def test_outputs_are_not_replaced_unasked(tmp_path: Path, spagan: Path) -> None:
    out = tmp_path / "b.safetensors"
    out.write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        import_checkpoint(spagan, out)
    assert out.read_text() == "precious"
    with pytest.raises(BundleError, match="lacks tensor"):
        import_checkpoint(spagan, out, as_name="msda", overwrite=True)
    assert out.read_text() == "precious"
    import_checkpoint(spagan, out, overwrite=True)
    assert load_bundle(out).card.name == "weights"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.safetensors", "weights.pth"]


@pytest.mark.parametrize("where", ["folder", "absent", "itself", "under a file"])
def test_outputs_that_cannot_be_are_refused_and_nothing_is_replaced(
    tmp_path: Path, spagan: Path, where: str
) -> None:
    out = {
        "folder": tmp_path,
        "absent": tmp_path / "no" / "b",
        "itself": spagan,
        "under a file": spagan / "b",
    }[where]
    before = spagan.read_bytes()
    with pytest.raises(OutputError):
        import_checkpoint(spagan, out, overwrite=True)
    assert spagan.read_bytes() == before
    assert list(tmp_path.iterdir()) == [spagan]


def test_a_pipe_or_device_is_not_replaced(tmp_path: Path, spagan: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for out in (pipe, Path("/dev/null")):
        with pytest.raises(OutputError, match=f"^{out}: is a device or pipe, not a file; "):
            check_output(out, [spagan], overwrite=True)
    with pytest.raises(OutputError, match="not a file"):
        import_checkpoint(spagan, pipe, overwrite=True)
    assert pipe.is_fifo()


def test_a_failing_disk_leaves_nothing(
    tmp_path: Path, spagan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"cannot be written .*No space left"):
        import_checkpoint(spagan, tmp_path / "b")
    assert list(tmp_path.iterdir()) == [spagan]


def weights_file(shared: Path, name: str) -> Path:
    path = shared / "data" / "weights" / name
    if not path.is_file():
        pytest.skip(f"real data absent: no file {path}")
    return path


@pytest.mark.parametrize("name", ["spagan_rice1.pth", "spagan_rice2.pth"])
def test_the_real_spagan_weights_are_known_by_origin_and_licence(
    shared: Path, tmp_path: Path, name: str
) -> None:
    bundle = imported(weights_file(shared, name), tmp_path / "b.safetensors")
    assert bundle.card.bands == ("blue", "green", "red")
    assert (bundle.card.licence, bundle.card.gsd_m) == ("MIT", 30.0)
    assert bundle.card.provenance["source_sha256"] in KNOWN
    assert "Penn000/SpA-GAN" in bundle.card.provenance["source_origin"]


def test_the_real_spagan_weights_compute_what_the_authors_published(
    shared: Path, tmp_path: Path
) -> None:
    golden = shared / "reference" / "golden" / "spagan_real_rice1_128.npz"
    if not golden.is_file():
        pytest.skip(f"real data absent: no file {golden}")
    bundle = imported(weights_file(shared, "spagan_rice1.pth"), tmp_path / "b.safetensors")
    with np.load(golden) as vectors:
        rgb, wanted = vectors["cloudy_rgb_u8"], vectors["out"]
        meta = json.loads(str(vectors["meta"]))
    assert meta["weights_sha256"] == bundle.card.provenance["source_sha256"]
    order = [RGB.index(band) for band in bundle.card.bands]
    image = torch.from_numpy(rgb[..., order].copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        out = bundle.networks["reference"](image)[..., ::2, ::2].numpy()
    assert np.abs(out - wanted.reshape(out.shape).clip(0, 1)).max() < 1e-5


def test_files_trained_in_other_band_orders_do_not_go_together(
    shared: Path, tmp_path: Path, small_sizes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "ema.pt", small_state("de", 3))
    other = saved(tmp_path / "sp.pth", small_state("spagan", 3))
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    known = next(iter(KNOWN.values()))
    monkeypatch.setattr("decr.zoo.imports.KNOWN", {digest: known})
    with pytest.raises(BundleError, match=r"different orders .*blue, green, red"):
        import_checkpoint(path, tmp_path / "b", as_name="de", reference=other)
