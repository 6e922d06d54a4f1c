"""Grad-CAM on networks for which the right map is known."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.inference.grad_cam import grad_cam, has_map
from tests.tiny import experiment


class Known(nn.Module):
    """Class k reads the mean of channel k of a map, which is the image itself."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        self.features.weight.data = torch.eye(3)[:, :, None, None]
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(3, len(weight), bias=False)
        self.head.weight.data = weight

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.pool(self.features(images)).flatten(1))
        return logits


class SharedReLU(nn.Module):
    """One ReLU after both layers: only its last output is the last map."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 3, 2, 1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(5, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.relu(self.second(self.relu(self.first(images))))
        logits: torch.Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


class Tokens(nn.Module):
    """A patch embedding whose tokens have no places any more, as in a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix, self.head = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.mix(self.patches(images).flatten(2).transpose(1, 2))
        logits: torch.Tensor = self.head(tokens.mean(1))
        return logits


@pytest.fixture
def image():
    """Red at the top left, green twice as bright at the bottom right."""
    image = torch.zeros(1, 3, 8, 8)
    image[0, 0, :3, :3] = 1
    image[0, 1, 5:, 5:] = 2
    return image


def test_a_map_is_where_the_class_is_seen(image):
    maps = grad_cam(Known(torch.eye(3)), image, torch.tensor([[0, 1, 2]]))
    assert np.array_equal(maps[0, 0], image[0, 0] > 0)
    assert np.array_equal(maps[0, 1], image[0, 1] > 0)
    assert not maps[0, 2].any()  # blue is nowhere


def test_channels_are_weighed_by_what_they_say_for_the_class(image):
    network = Known(torch.tensor([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0]]))
    maps = grad_cam(network, image, torch.tensor([[0, 1]]))
    assert maps[0, 0, 0, 0] == pytest.approx(0.5)
    assert maps[0, 0, 7, 7] == pytest.approx(1)
    assert maps[0, 1, 0, 0] == pytest.approx(1)
    assert maps[0, 1, 7, 7] == 0  # green speaks against class 1: cut off, as in equation 2


def test_every_image_has_its_own_classes_and_scale(image):
    both = torch.cat([image, 5 * image.flip(3)])
    maps = grad_cam(Known(torch.eye(3)), both, torch.tensor([[0], [1]]))
    assert np.array_equal(maps[0, 0], image[0, 0] > 0)
    assert np.array_equal(maps[1, 0], image.flip(3)[0, 1] > 0)


def test_the_map_equals_the_formula_where_layers_share_a_module():
    torch.manual_seed(0)
    network = SharedReLU().eval()
    images = torch.randn(2, 3, 16, 16)
    classes = torch.tensor([[0, 1], [1, 0]])
    maps = grad_cam(network, images, classes)
    with torch.no_grad():
        features = network.second(network.first(images).relu()).relu()  # (N, 5, 4, 4)
    # The gradient of a mean over 16 places to any place is the head's weight / 16.
    weights = network.head.weight[classes] / 16  # (N, M, 5)
    expected = torch.einsum("nmc,nchw->nmhw", weights, features).clamp(min=0)
    largest = expected.amax(dim=(2, 3), keepdim=True).clamp(min=1e-30)
    assert maps.shape == (2, 2, 4, 4)
    assert np.allclose(maps, (expected / largest).detach().numpy(), atol=1e-5)


def test_a_network_whose_tokens_have_no_places_has_no_map():
    assert not has_map(Tokens().eval(), torch.zeros(1, 3, 16, 16))
    assert has_map(SharedReLU().eval(), torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize(
    ("name", "has"), [("timm/test_vit", False), ("timm/test_resnet", True), ("resnet18", True)]
)
def test_convolutional_networks_have_maps_and_transformers_none(name, has):
    from pipeline.models.registry import build_random

    size = 160 if "vit" in name else 64
    config = experiment(model={"name": name, "weights": "none"}).model
    module = build_random(config, 2, size_px=size).module.eval()
    assert has_map(module, torch.zeros(1, 3, size, size)) is has


def test_the_network_is_left_without_hooks(image):
    network = Known(torch.eye(3))
    grad_cam(network, image, torch.tensor([[0]]))
    assert not any(part._forward_hooks for part in network.modules())
