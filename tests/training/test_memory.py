import pytest
import torch

from pipeline.errors import ArtifactError
from pipeline.training.memory import ChunkedForward, explained_shortage

IMAGES = torch.arange(10.0).reshape(5, 2)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("too much"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(h)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
    ],
)
def test_a_forward_pass_runs_on_as_many_images_as_fit(error):
    sizes = []

    def forward(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        if len(images) > 2:
            raise error
        return 2 * images

    run = ChunkedForward(forward)
    assert torch.equal(run(IMAGES), 2 * IMAGES)
    assert sizes == [5, 3, 2, 2, 1]
    assert torch.equal(run(IMAGES), 2 * IMAGES)
    assert sizes[5:] == [2, 2, 1]  # what fits is found out once


def test_one_image_that_does_not_fit_is_an_error():
    def forward(_: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(ArtifactError, match=r"^images\.size_px: one image must fit in memory, d"):
        ChunkedForward(forward)(IMAGES)


def test_other_errors_pass():
    def forward(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes don't match")

    with pytest.raises(RuntimeError, match="shapes don't match"):
        ChunkedForward(forward)(IMAGES)


def test_where_smaller_parts_cannot_help_a_shortage_is_one_line():
    line = r"^x: must fit in memory, doesn't; choose a smaller network, or free memory that"
    with pytest.raises(ArtifactError, match=line), explained_shortage("x: must fit in memory"):
        raise torch.OutOfMemoryError("too much")
    with pytest.raises(RuntimeError, match="shapes"), explained_shortage("x: must fit in memory"):
        raise RuntimeError("shapes differ")
