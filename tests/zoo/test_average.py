"""Averages of two bundles: the mean where both have a part, and refusal where that is senseless."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from decr.calibration import ErrorTable
from decr.errors import BundleError, ConfigError, OutputError
from decr.models.registry import create
from decr.zoo.average import average_bundles
from decr.zoo.bundle import Bundle, load_bundle, save_bundle, save_with_card
from decr.zoo.embedded import embedded_path
from tests.tiny import DETECTOR, PARTS, randomised, tiny_bundle, tiny_card, tiny_networks

REFERENCE = {"reference": PARTS["reference"]}


def other(path: Path, bands: int = 3, seed: int = 9) -> Path:
    network = randomised(create("compact", bands, REFERENCE["reference"].size), seed)
    save_bundle(path, replace(tiny_card(REFERENCE, bands), name="other"), {"reference": network})
    return path


def test_shared_parts_are_the_mean_and_others_stay(tmp_path: Path) -> None:
    first, second = tiny_bundle(tmp_path, 3), other(tmp_path / "b.safetensors")
    average_bundles(first, second, tmp_path / "mean.safetensors", name="mean")
    a, b, mean = (load_bundle(p) for p in (first, second, tmp_path / "mean.safetensors"))
    for key, value in mean.networks["reference"].state_dict().items():
        pair = [x.networks["reference"].state_dict()[key] for x in (a, b)]
        torch.testing.assert_close(value, (pair[0] + pair[1]) / 2, atol=1e-3, rtol=1e-3)
    for key, value in mean.networks["cnp"].state_dict().items():
        assert torch.equal(value, a.networks["cnp"].state_dict()[key])
    assert mean.card.name == "mean"
    assert mean.card.provenance["averaged"] == (
        f"reference with other ({b.sha256[:12]}), whose share is 0.5"
    )
    assert mean.card.provenance["other trained"] == "never"


def test_a_mean_of_means_tells_both(tmp_path: Path) -> None:
    first, second = tiny_bundle(tmp_path, 3), other(tmp_path / "b.safetensors")
    average_bundles(first, second, tmp_path / "one.safetensors", share=0.25)
    again = average_bundles(tmp_path / "one.safetensors", second, tmp_path / "two.safetensors")
    told = again.provenance["averaged"]
    assert told.count("reference with other") == 2
    assert told.index("0.25; then ") < told.index("0.5")


def credited(path: Path, name: str, licence: str, owner: str) -> Path:
    """A tiny bundle with a licence and, unless that is empty, an attribution."""
    said = {"attribution": owner} if owner else {}
    card = replace(tiny_card(REFERENCE, 3), name=name, licence=licence, provenance=said)
    save_bundle(path, card, tiny_networks(REFERENCE, 3))
    return path


def test_a_mean_has_the_licences_and_the_attributions_of_both(tmp_path: Path) -> None:
    a, b, c, d = (
        credited(tmp_path / f"{name}.safetensors", name, licence, owner)
        for name, licence, owner in (
            ("a", "CC0", "A; All"),
            ("b", "CC BY-NC 4.0", "All; B"),
            ("c", "CC0", ""),
            ("d", "", "D"),
        )
    )

    def mean(first: Path, second: Path) -> tuple[Path, str, str | None]:
        out = tmp_path / f"{first.stem}{second.stem}.safetensors"
        card = average_bundles(first, second, out)
        assert not any(key.endswith(" attribution") for key in card.provenance)
        return out, card.licence, card.provenance.get("attribution")

    ab, *said = mean(a, b)
    assert said == ["CC0; and of b: CC BY-NC 4.0", "A; All; B"]
    assert mean(b, a)[1:] == ("CC BY-NC 4.0; and of a: CC0", "All; B; A")
    assert mean(a, c)[1:] == ("CC0", "A; All")
    assert mean(c, c)[1:] == ("CC0", None)
    assert mean(d, d)[1:] == ("", "D")
    assert mean(d, a)[1:] == ("not stated; and of a: CC0", "D; A; All")
    # Means of means say each once, too.
    assert mean(ab, b)[1:] == ("CC0; and of b: CC BY-NC 4.0", "A; All; B")
    assert mean(c, ab)[1:] == ("CC0; and of b: CC BY-NC 4.0", "A; All; B")
    assert mean(d, ab)[1:] == (
        "not stated; and of ab: CC0; and of b: CC BY-NC 4.0",
        "D; A; All; B",
    )


def test_the_share_of_the_second_can_be_chosen(tmp_path: Path) -> None:
    first, second = tiny_bundle(tmp_path, 3), other(tmp_path / "b.safetensors")
    out = tmp_path / "mean.safetensors"
    average_bundles(first, second, out, share=0.25)
    a, b, mean = (load_bundle(p).networks["reference"].state_dict() for p in (first, second, out))
    for key, value in mean.items():
        torch.testing.assert_close(value, 0.75 * a[key] + 0.25 * b[key], atol=1e-3, rtol=1e-3)
    for share in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="share must lie between"):
            average_bundles(first, second, out, overwrite=True, share=share)


def test_the_mean_has_no_errors_that_were_measured_of_others(tmp_path: Path) -> None:
    path, out = tiny_bundle(tmp_path, 3), tmp_path / "mean.safetensors"
    table = ErrorTable((-1.0, 1.0), (0.1, 0.2), {}, "of the first")
    save_with_card(path, path, replace(load_bundle(path).card, errors=table))
    average_bundles(path, path, out)
    assert load_bundle(path).card.errors == table
    assert load_bundle(out).card.errors is None


def test_the_mean_of_one_with_itself_is_itself(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, 4)
    average_bundles(path, path, tmp_path / "mean.safetensors")
    a, mean = load_bundle(path), load_bundle(tmp_path / "mean.safetensors")
    for part, network in a.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, mean.networks[part].state_dict()[key])


def test_only_the_parts_named_are_averaged(tmp_path: Path) -> None:
    first = tiny_bundle(tmp_path, 3)
    second = tmp_path / "second.safetensors"
    networks = {n: randomised(create(p.architecture, 3, p.size), 5) for n, p in PARTS.items()}
    save_bundle(second, replace(tiny_card(PARTS, 3), name="second"), networks)
    average_bundles(first, second, tmp_path / "mean.safetensors", ("wa",))
    a, mean = load_bundle(first), load_bundle(tmp_path / "mean.safetensors")
    same = {
        part: all(
            torch.equal(v, mean.networks[part].state_dict()[k]) for k, v in n.state_dict().items()
        )
        for part, n in a.networks.items()
    }
    assert same == {"reference": True, "cnp": True, "wa": False}
    with pytest.raises(BundleError, match="shares no detector"):
        average_bundles(first, second, tmp_path / "x.safetensors", ("detector",))


def test_what_cannot_be_averaged_is_refused(tmp_path: Path) -> None:
    first, out = tiny_bundle(tmp_path, 3), tmp_path / "mean.safetensors"
    with pytest.raises(BundleError, match="bands"):
        average_bundles(first, other(tmp_path / "four.safetensors", 4), out)
    with pytest.raises(BundleError, match="shares no part"):
        average_bundles(first, tiny_bundle(tmp_path, 3, DETECTOR), out)
    wider = {
        "reference": replace(
            PARTS["reference"], size={"width": 16, "multipliers": [1, 2], "blocks": 1}
        )
    }
    path = tmp_path / "wide.safetensors"
    network = create("compact", 3, wider["reference"].size)
    save_bundle(path, tiny_card(wider, 3), {"reference": network})
    with pytest.raises(BundleError, match="not the network"):
        average_bundles(first, path, out)
    assert not out.exists()
    with pytest.raises(OutputError, match="exists already"):
        average_bundles(first, first, first)
    with pytest.raises(OutputError, match="is a folder"):
        average_bundles(first, first, Path(), overwrite=True)
    with pytest.raises(OutputError, match=r"mean\.pth: .* a name that ends in \.safetensors"):
        average_bundles(first, first, tmp_path / "mean.pth")


def test_parts_that_are_not_averaged_keep_their_bits(tmp_path: Path) -> None:
    first, second, out = (tmp_path / f"{n}.safetensors" for n in ("a", "b", "mean"))
    networks = tiny_networks(PARTS, 3)
    save_bundle(first, tiny_card(PARTS, 3), networks, torch.float32)
    save_bundle(second, tiny_card(PARTS, 3), tiny_networks(PARTS, 3))
    average_bundles(first, second, out, ("reference",))
    mean = load_bundle(out)
    assert mean.dtype == torch.float32
    for part in ("cnp", "wa"):
        for key, value in networks[part].state_dict().items():
            assert torch.equal(value, mean.networks[part].state_dict()[key])


def test_a_mean_that_cannot_be_written_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tiny_bundle(tmp_path, 3)

    def full(*arguments: object, **more: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("decr.zoo.bundle.save", full)
    with pytest.raises(OutputError, match=r"m\.safetensors: cannot be written \(No space"):
        average_bundles(first, first, tmp_path / "m.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == [first.name]


def test_embedded_bundles_have_names(tmp_path: Path) -> None:
    out = tmp_path / "mean.safetensors"
    card = average_bundles("embedded-detector", embedded_path("embedded-detector"), out, share=0.5)
    assert card.provenance["averaged"].startswith("detector with ")
    with pytest.raises(BundleError, match="neither a file"):
        average_bundles("embedded-nothing", out, tmp_path / "x.safetensors")


def test_two_processes_do_not_write_one_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, out = tiny_bundle(tmp_path, 3), tmp_path / "m.safetensors"
    refused = []

    def meanwhile(path: Path) -> Bundle:
        with pytest.raises(OutputError, match="another decr is writing this output") as error:
            average_bundles(first, first, out, overwrite=True)
        refused.append(error)
        return load_bundle(path)

    with monkeypatch.context() as patched:
        patched.setattr("decr.zoo.average.load_bundle", meanwhile)
        average_bundles(first, first, out)
    assert len(refused) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([first.name, out.name])
    with pytest.raises(OutputError, match="exists already"):
        average_bundles(first, first, out)
