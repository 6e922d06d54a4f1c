"""The attentions against their equations in plain arithmetic on arrays."""

import numpy as np
import pytest
import torch

from pipeline.models.attention import CBAM, ChannelAttention, SpatialAttention, SqueezeExcitation
from pipeline.models.resnet import Architecture, ResNet


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def feature_map(channels=8, height=5, width=6):
    shape = (2, channels, height, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def matrix(layer):
    return layer.weight.detach().numpy()[:, :, 0, 0]


def channel_gate(attention, x):
    """Woo et al. 2018, eq. 2."""
    first, second = matrix(attention.fc1), matrix(attention.fc2)
    pooled = (x.mean(axis=(2, 3)), x.max(axis=(2, 3)))
    return sigmoid(sum(relu(one @ first.T) @ second.T for one in pooled))[:, :, None, None]


def spatial_gate(attention, x):
    """Woo et al. 2018, eq. 3, with the convolution written out."""
    kernel = attention.conv.weight.detach().numpy()[0]  # (2, 7, 7)
    pooled = np.stack([x.mean(axis=1), x.max(axis=1)], axis=1)
    padded = np.pad(pooled, ((0, 0), (0, 0), (3, 3), (3, 3)))
    num, _, height, width = pooled.shape
    out = np.empty((num, 1, height, width))
    for row in range(height):
        for column in range(width):
            window = padded[:, :, row : row + 7, column : column + 7]
            out[:, 0, row, column] = (window * kernel).sum(axis=(1, 2, 3))
    return sigmoid(out)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_channel_attention_is_equation_2():
    attention, x = ChannelAttention(8, ratio=2).double(), feature_map()
    expected = channel_gate(attention, x.numpy())
    assert expected.std() > 0.01
    np.testing.assert_allclose(attention.gate(x).detach(), expected, rtol=1e-9)
    np.testing.assert_allclose(attention(x).detach(), expected * x.numpy(), rtol=1e-9)


def test_spatial_attention_is_equation_3():
    attention, x = SpatialAttention().double(), feature_map()
    expected = spatial_gate(attention, x.numpy())
    assert expected.std() > 0.01
    np.testing.assert_allclose(attention.gate(x).detach(), expected, rtol=1e-9)
    np.testing.assert_allclose(attention(x).detach(), expected * x.numpy(), rtol=1e-9)


def test_cbam_attends_to_channels_first():
    cbam, x = CBAM(8, ratio=2).double(), feature_map()
    refined = x.numpy() * channel_gate(cbam.channel, x.numpy())
    expected = refined * spatial_gate(cbam.spatial, refined)
    np.testing.assert_allclose(cbam(x).detach(), expected, rtol=1e-9)


def test_squeeze_and_excitation_is_its_equations():
    layer, x = SqueezeExcitation(8, ratio=2).double(), feature_map()
    squeezed = x.numpy().mean(axis=(2, 3))
    state = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
    hidden = relu(squeezed @ matrix(layer.fc1).T + state["fc1.bias"])
    gate = sigmoid(hidden @ matrix(layer.fc2).T + state["fc2.bias"])
    np.testing.assert_allclose(layer(x).detach(), x.numpy() * gate[:, :, None, None], rtol=1e-9)


def test_cbam_has_one_shared_mlp_without_biases_and_one_convolution():
    names = {name: tuple(weight.shape) for name, weight in CBAM(64).named_parameters()}
    assert names == {
        "channel.fc1.weight": (4, 64, 1, 1),
        "channel.fc2.weight": (64, 4, 1, 1),
        "spatial.conv.weight": (1, 2, 7, 7),
    }


@pytest.mark.parametrize("attention", ["se", "cbam"])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_attention_scales_the_branch_and_not_the_shortcut(block, attention):
    architecture = Architecture(block, (2, 1, 1, 1), attention=attention)
    unit = ResNet(architecture, 3).eval().layer1[1]
    x = torch.rand(1, 64 * architecture.expansion, 4, 4)
    plain = ResNet(Architecture(block, (2, 1, 1, 1)), 3).eval().layer1[1]
    plain.load_state_dict(unit.state_dict(), strict=False)
    last = "bn3" if block == "bottleneck" else "bn2"
    captured: dict[str, torch.Tensor] = {}
    getattr(plain, last).register_forward_hook(lambda _, __, out: captured.update(branch=out))
    plain(x)
    gated = getattr(unit, attention)(captured["branch"])
    torch.testing.assert_close(unit(x), torch.relu(gated + x))
