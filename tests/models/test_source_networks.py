"""The sources' own networks: their sizes and the places where they meet a frozen trunk."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from pipeline.errors import ConfigError
from pipeline.models.attention import CBAM, ResAttention
from pipeline.models.source_networks import LeNet, ResNet50Attention, SampleResNet


def count(module, prefixes=("",)):
    named = module.named_parameters()
    return sum(weight.numel() for name, weight in named if name.startswith(prefixes))


def on_meta(network, num_classes):
    with torch.device("meta"):
        return network(num_classes)


def test_lenet_has_the_parameters_of_the_source_s_layers():
    convolutions = (3 * 16 * 9 + 16) + (16 * 16 * 9 + 16)
    linear = (40_000 * 128 + 128) + (128 * 64 + 64) + (64 * 2 + 2)
    assert count(on_meta(LeNet, 2)) == convolutions + linear == 5_131_282


def test_lenet_is_its_layers_in_order_and_returns_logits():
    torch.manual_seed(0)
    net = LeNet(2)
    reference = nn.Sequential(
        *(net.conv1, nn.ReLU(), nn.MaxPool2d(2)),
        *(net.conv2, nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), net.fc1, nn.ReLU(), net.fc2, nn.ReLU(), net.fc3),
    )
    images = torch.randn(2, 3, 200, 200)
    torch.testing.assert_close(net(images), reference(images))
    assert not torch.allclose(net(images).sum(1), torch.ones(2))  # no softmax


def test_lenet_refuses_images_of_another_size():
    line = "^lenet: images must be 200 x 200 pixels, are 200 x 196; set images.size_px=200$"
    with pytest.raises(ConfigError, match=line):
        on_meta(LeNet, 2)(torch.empty(1, 3, 200, 196, device="meta"))


def test_sample_resnet_has_about_230_000_parameters():
    num = count(on_meta(SampleResNet, 10))
    assert num == pytest.approx(230_000, rel=0.02)
    assert num == 230_000  # as its docstring says


def test_sample_resnet_has_the_source_s_parts_in_order():
    kinds = [type(part) for part in on_meta(SampleResNet, 10).children()]
    assert kinds == [
        *(nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d),
        *(ResAttention, CBAM, ResAttention, nn.Linear),
    ]


def test_resnet50_attention_has_the_source_s_number_of_parameters():
    network = on_meta(ResNet50Attention, 10)
    assert count(network) == 28_616_876
    assert count(network, network.head_names) == 5_108_844
    assert count(network, ("trunk",)) == 23_508_032


def test_the_attention_block_ends_in_a_1x1_convolution_from_512_to_2048_and_a_batch_norm():
    *_, convolution, norm = (
        part for part in on_meta(ResNet50Attention, 10).attention.modules() if not part._modules
    )
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert tuple(convolution.weight.shape) == (2048, 512, 1, 1)
    assert convolution.bias is None
    assert norm.num_features == 2048


def test_the_trunk_of_resnet50_attention_is_a_resnet50_up_to_layer4():
    torch.manual_seed(0)
    reference: Any = timm.create_model("resnet50", pretrained=False).eval()
    network = ResNet50Attention(10).eval()
    weights = {key: value for key, value in reference.state_dict().items() if key[:3] != "fc."}
    network.trunk.load_state_dict(weights, strict=True)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = reference.forward_features(images)
        torch.testing.assert_close(network.forward_trunk(images), expected)
    assert expected.shape == (1, 2048, 2, 2)


@pytest.mark.parametrize(("out", "stride"), [(32, 1), (48, 1), (32, 2)])
def test_the_attention_block_adds_its_shortcut_to_what_it_attends_to(out, stride):
    torch.manual_seed(0)
    block = ResAttention(32, 16, out, stride=stride).eval()
    x = torch.randn(2, 32, 6, 6)
    branch = block.bn2(block.conv2(torch.relu(block.conv1(block.attention(x)))))
    around = x
    if (out, stride) != (32, 1):
        convolution, norm = block.downsample.children()
        assert convolution.stride == (stride, stride)
        around = norm(convolution(x))
    torch.testing.assert_close(block(x), torch.relu(branch + around))
