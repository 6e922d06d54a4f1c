"""Gradients of gates and pooled maps: autograd's own, in the memory layout of the maps."""

import pytest
import torch
from torch import Tensor

from pipeline.models.attention import gated, mean_and_max

DIMS = [(2, 3), (1,)]


def maps(dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw maps channels last, with many equal maxima, as after a ReLU of small numbers."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(-3, 3, (3, 5, 4, 6), generator=generator).relu().to(dtype)
    return drawn.contiguous(memory_format=torch.channels_last).requires_grad_()


def gate_of(dims: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    shape = [1 if dim in dims else size for dim, size in enumerate((3, 5, 4, 6))]
    generator = torch.Generator().manual_seed(1)
    return torch.rand(shape, generator=generator).to(dtype).requires_grad_()


@pytest.mark.parametrize("dims", DIMS)
def test_gradients_of_a_gate_are_autograds(dims):
    grads = []
    for multiply in (gated, torch.mul):
        x, gate = maps(), gate_of(dims)
        (multiply(x, gate) * torch.arange(6.0)).sum().backward()
        assert x.grad is not None
        assert gate.grad is not None
        grads.append((x.grad, gate.grad))
    assert torch.equal(grads[0][0], grads[1][0])
    assert torch.allclose(grads[0][1], grads[1][1], rtol=1e-6)
    assert grads[0][0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dims", DIMS)
def test_gradients_of_pooled_maps_are_autograds_where_maxima_are_shared_too(dims):
    def plain(x: Tensor, over: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        return x.mean(over, keepdim=True), x.amax(over, keepdim=True)

    grads = []
    for pool in (mean_and_max, plain):
        x = maps()
        mean, peak = pool(x, dims)
        weights = torch.arange(float(mean.numel())).reshape(mean.shape)
        (mean * weights + 2 * peak * weights.flip(0)).sum().backward()
        assert x.grad is not None
        grads.append(x.grad)
    assert torch.allclose(grads[0], grads[1], rtol=1e-5)
    assert grads[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dims", DIMS)
def test_gradients_hold_numerically(dims):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    shape = [1 if dim in dims else size for dim, size in enumerate(x.shape)]
    gate = torch.rand(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gated, (x, gate))
    assert torch.autograd.gradcheck(lambda maps: mean_and_max(maps, dims), (x,), atol=1e-4)


def test_gradients_have_the_types_of_what_came_in():
    x, gate = maps(torch.bfloat16), gate_of((2, 3))
    gated(x, gate).sum().backward()
    assert x.grad is not None
    assert gate.grad is not None
    assert (x.grad.dtype, gate.grad.dtype) == (torch.bfloat16, torch.float32)
