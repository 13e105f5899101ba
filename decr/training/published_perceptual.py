"""The perceptual term of MSDA-CR's loss: distance of VGG16 features.

Its weights come from a local file; nothing is downloaded. Source: Johnson et al., ECCV 2016;
Simonyan and Zisserman, ICLR 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decr.errors import BundleError
from decr.zoo.formats import read_weights

_FILE = "torchvision's vgg16-397923af.pth"

_BLOCKS: tuple[tuple[tuple[int, int, int], ...], ...] = (
    ((0, 3, 64), (2, 64, 64)),
    ((5, 64, 128), (7, 128, 128)),
    ((10, 128, 256), (12, 256, 256), (14, 256, 256)),
)
"""Per block its convolutions: number among torchvision's ``features``, channels in and out.

Each is followed by a ReLU; the blocks end at relu1_2, relu2_2 and relu3_3.
"""


class _Features(nn.Module):
    """The first three blocks of VGG16, frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict(
            {
                str(index): nn.Conv2d(cin, cout, 3, padding=1)
                for block in _BLOCKS
                for index, cin, cout in block
            }
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) to what leaves each block."""
        levels: list[Tensor] = []
        for block in _BLOCKS:
            if levels:
                x = F.max_pool2d(x, 2)
            for index, _, _ in block:
                x = F.relu(self.features[str(index)](x))
            levels.append(x)
        return levels


def _three_bands(x: Tensor) -> Tensor:
    """Show VGG16 an image of three bands as it is, of any other number band by band as grey."""
    if x.shape[1] == 3:
        return x
    return x.flatten(0, 1)[:, None].expand(-1, 3, -1, -1)


def load_perceptual(path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    """Read VGG16 and return the distance of two batches of images.

    Parameters
    ----------
    path
        A state dict with torchvision's names (``features.0.weight`` and so on); other tensors are
        ignored. Shapes are checked; whether the numbers are ImageNet's is not.

    Returns
    -------
    Callable
        (made, clear), each (N, C, H, W) in [0, 1] with sides of at least 4, to a scalar: the mean
        of the squared differences at relu1_2, relu2_2 and relu3_3. As published, values are *not*
        normalised as ImageNet's were. VGG16 sees 3 bands; with another number, where the published
        code fails, every band stands in for all three, and the result is the mean over bands.

    Raises
    ------
    BundleError
        If the file is missing, cannot be read, or lacks one of VGG16's tensors.
    """
    network = _Features()
    try:
        state = read_weights(path)
        network.load_state_dict({key: state[key] for key in network.state_dict()})
    except BundleError as error:
        raise BundleError(f"{error}; VGG16 is {_FILE}") from error
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f"{path}: cannot read VGG16: {reason}; give {_FILE}") from error
    network.eval().requires_grad_(False)

    def distance(made: Tensor, clear: Tensor) -> Tensor:
        network.to(made.device)
        with torch.no_grad():
            wanted = network(_three_bands(clear))
        pairs = zip(network(_three_bands(made)), wanted, strict=True)
        return torch.stack([F.mse_loss(a, b) for a, b in pairs]).mean()

    return distance
