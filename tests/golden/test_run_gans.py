"""The runner of published weights: what it says where the weights are absent or others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from decr.models.spagan import SpAGAN
from tests.golden.run_gans import GENERATOR, inside, load_generator
from tests.golden.runners import run_file
from tests.golden.vectors import statistics


def vector_file(folder: Path, digest: str) -> Path:
    """A file that asks for the weights in ``folder/data/weights/spagan_rice2.pth``."""
    path = folder / "reference" / "golden" / "real.npz"
    path.parent.mkdir(parents=True)
    meta = {
        "model": "spagan_real",
        "weights": "somewhere/RICE2/weights.pth",
        "weights_sha256": digest,
    }
    np.savez(path, meta=np.array(json.dumps(meta)))
    return path


def weights(folder: Path) -> Path:
    path = folder / "data" / "weights" / "spagan_rice2.pth"
    path.parent.mkdir(parents=True)
    return path


def test_absent_weights_are_lacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECR_SHARED", str(tmp_path))
    (check,) = run_file(vector_file(tmp_path, "0" * 64))
    assert check.note.startswith("lacking: no weights spagan_rice2.pth; ")
    assert "DECR_SHARED" in check.note


def test_other_weights_fail(tmp_path: Path) -> None:
    weights(tmp_path).write_bytes(b"other")
    (check,) = run_file(vector_file(tmp_path, "0" * 64))
    assert not check.ok
    assert hashlib.sha256(b"other").hexdigest() in check.note


def test_published_names_and_the_old_format_are_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, path = SpAGAN(3), weights(tmp_path)
    state = {GENERATOR + key: value for key, value in net.state_dict().items()}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    read = load_generator(path).state_dict()
    assert all(torch.equal(read[key], value) for key, value in net.state_dict().items())
    del state[f"{GENERATOR}SAM1.conv_in.weight"]
    torch.save(state, path)
    with pytest.raises(RuntimeError, match=r"SAM1\.conv_in\.weight"):
        load_generator(path)


def test_inside_keeps_what_no_border_reaches() -> None:
    picture = np.arange(64 * 64).reshape(64, 64)
    assert np.array_equal(inside(picture, 2), picture[18:46, 18:46])
    assert np.array_equal(inside(np.zeros((100, 100)), 1), np.zeros((28, 28)))


@pytest.mark.parametrize("side", [64, 128])
def test_a_small_cut_has_no_place_that_no_border_reaches(tmp_path: Path, side: int) -> None:
    """Of 72 pixels a side or less only the outputs of the cut itself are compared."""
    torch.manual_seed(0)
    net, path = SpAGAN(3).eval(), weights(tmp_path)
    torch.save({GENERATOR + key: value for key, value in net.state_dict().items()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    picture = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    y = torch.from_numpy(np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1)))[None] / 255
    with torch.no_grad():
        out, att = (output.numpy() for output in net.with_attention(y))
    image = out[0, ::-1].transpose(1, 2, 0)
    file = vector_file(tmp_path, digest)
    np.savez(
        file,
        meta=np.load(file)["meta"],
        cloudy_rgb_u8=picture,
        out=out,
        att=att,
        out__stats=statistics(out),
        att__stats=statistics(att),
        full_image_out_rgb=image,
        published_out_rgb_u8=np.rint(image.clip(0, 1) * 255).astype(np.uint8),
    )
    checks = run_file(file)
    assert [check.note for check in checks if not check.ok] == []
    assert len(checks) == (4 if side == 64 else 6)
