from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from pipeline.training.depthwise import DepthwiseGradients


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, groups=2, bias=False),
        nn.Conv2d(16, 16, 3, padding="same", groups=16),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 2),
    ).to(memory_format=torch.channels_last)


def backward(context, run=None, *, is_mixed=True):
    """Return the logits of drawn images and the gradients of a loss, the images' first."""
    module = network()
    images = torch.randn(2, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    with context:
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            logits = run(module, images) if run else module(images)
        F.cross_entropy(logits.float(), torch.tensor([0, 1])).backward()
    return logits, [images.grad, *(parameter.grad for parameter in module.parameters())]


def errors(grads, exact):
    pairs = zip(grads, exact, strict=True)
    return [float((grad - other).norm() / other.norm()) for grad, other in pairs]


class Noted(TorchDispatchMode):
    """Notes the precision and the groups of every convolution's gradient."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution_backward.default:
            self.seen.add((args[0].dtype, args[9]))
        return func(*args, **(kwargs or {}))


def test_forward_pass_is_that_of_autocast():
    expected, _ = backward(nullcontext())
    logits, _ = backward(DepthwiseGradients())
    torch.testing.assert_close(logits, expected, atol=0, rtol=0)


def test_gradients_are_as_near_to_those_of_float32_as_those_of_autocast():
    _, exact = backward(nullcontext(), is_mixed=False)
    _, usual = backward(nullcontext())
    _, ours = backward(DepthwiseGradients())
    assert [grad.dtype for grad in ours] == [grad.dtype for grad in exact]
    for own, other in zip(errors(ours, exact), errors(usual, exact), strict=True):
        assert own < 1.2 * other + 1e-3


def test_only_gradients_of_thin_groups_are_computed_in_float32():
    noted = Noted()
    with noted:
        backward(DepthwiseGradients())
    float32, bfloat16 = torch.float32, torch.bfloat16
    # The 16 groups are padded by name, which only torch's own way understands.
    assert noted.seen == {(bfloat16, 1), (float32, 8), (float32, 2), (bfloat16, 16)}


def test_without_autocast_nothing_changes():
    _, expected = backward(nullcontext(), is_mixed=False)
    _, grads = backward(DepthwiseGradients(), is_mixed=False)
    for grad, other in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, other, atol=0, rtol=0)


@pytest.mark.filterwarnings("ignore:.*torch.cpu.amp.autocast.*:FutureWarning")
def test_gradient_checkpointing_changes_nothing():
    def run(module, images):
        return checkpoint(module, images, use_reentrant=False)

    _, expected = backward(DepthwiseGradients())
    _, grads = backward(DepthwiseGradients(), run)
    for grad, other in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, other, atol=0, rtol=0)
