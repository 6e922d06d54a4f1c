import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss  # type: ignore[import-untyped]

from pipeline.config.train_table import LossConfig
from pipeline.training.losses import balanced_weights, build_criterion

COUNTS = np.array([40, 10, 0, 50])
LABELS = torch.tensor([0, 1, 3, 3, 1, 0])


@pytest.fixture
def logits():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * 3


@pytest.fixture
def soft_targets():
    return torch.rand(6, 4, generator=torch.Generator().manual_seed(1)).softmax(1)


def losses(logits, targets, counts=COUNTS, **config):
    return build_criterion(LossConfig(**config), counts)(logits, targets)


def one_hot(labels=LABELS, num_classes=4):
    return F.one_hot(labels, num_classes).float()


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_it_is_torchs_cross_entropy_image_by_image(logits, soft_targets, label_smoothing):
    found = losses(logits, soft_targets, label_smoothing=label_smoothing)
    expected = F.cross_entropy(
        logits, soft_targets, reduction="none", label_smoothing=label_smoothing
    )
    assert found.shape == (6,)
    torch.testing.assert_close(found, expected)


def test_one_hot_targets_are_as_good_as_labels(logits):
    expected = F.cross_entropy(logits, LABELS, reduction="none")
    torch.testing.assert_close(losses(logits, one_hot()), expected)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_of_two_classes_is_torchvisions(gamma):
    scores = torch.linspace(-6, 6, 25)
    logits = torch.stack([torch.zeros(25), scores], dim=1)  # their softmax is scores' sigmoid
    labels = torch.arange(25) % 2
    expected = sigmoid_focal_loss(scores, labels.float(), alpha=-1, gamma=gamma)
    found = losses(logits, one_hot(labels, 2), np.array([1, 1]), focal_gamma=gamma)
    torch.testing.assert_close(found, expected)


def test_focal_loss_of_soft_targets_is_their_expectation(logits, soft_targets):
    by_class = [
        losses(logits, one_hot(torch.full((6,), number)), focal_gamma=2.0) for number in range(4)
    ]
    expected = (soft_targets * torch.stack(by_class, dim=1)).sum(1)
    torch.testing.assert_close(losses(logits, soft_targets, focal_gamma=2.0), expected)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0])
def test_focal_loss_keeps_its_gradient_finite_where_it_is_sure(gamma):
    logits = torch.tensor([[100.0, 0.0], [0.0, 100.0], [17.0, 0.0]], requires_grad=True)
    targets = one_hot(torch.zeros(3, dtype=torch.int64), 2)
    losses(logits, targets, np.array([1, 1]), focal_gamma=gamma).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[1].abs().sum() > 0


def test_balanced_weights_are_torchs_class_weights(logits):
    weights = torch.tensor([100 / 3 / 40, 100 / 3 / 10, 0.0, 100 / 3 / 50])
    expected = F.cross_entropy(logits, LABELS, weights, reduction="none")
    torch.testing.assert_close(losses(logits, one_hot(), class_weights="balanced"), expected)


def test_soft_targets_are_weighted_by_what_they_show(logits, soft_targets):
    config = {"label_smoothing": 0.1, "focal_gamma": 2.0}
    weights = soft_targets @ torch.from_numpy(balanced_weights(COUNTS))
    found = losses(logits, soft_targets, class_weights="balanced", **config)
    torch.testing.assert_close(found, losses(logits, soft_targets, **config) * weights)


@given(hnp.arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 10**6)))
def test_the_mean_weight_over_the_training_images_is_1(counts):
    counts[0] += 1  # there is an image
    weights = balanced_weights(counts)
    assert weights.dtype == np.float32
    assert np.average(weights, weights=counts) == pytest.approx(1, rel=1e-5)
    assert ((weights > 0) == (counts > 0)).all()
    shares = (weights * counts)[counts > 0]
    np.testing.assert_allclose(shares, shares[0], rtol=1e-5)


@pytest.mark.gpu
def test_targets_on_a_gpu_meet_weights_there(logits):
    found = losses(logits.cuda(), one_hot().cuda(), class_weights="balanced")
    expected = losses(logits, one_hot(), class_weights="balanced")
    torch.testing.assert_close(found.cpu(), expected)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_several_labels_are_as_many_losses_of_yes_or_no(logits, gamma):
    targets = (torch.rand(6, 4, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    config = LossConfig(focal_gamma=gamma)
    found = build_criterion(config, COUNTS, has_several=True)(logits, targets)
    expected = sigmoid_focal_loss(logits, targets, alpha=-1, gamma=gamma, reduction="none").sum(1)
    torch.testing.assert_close(found, expected)


def test_smoothing_of_a_label_is_between_yes_and_no(logits):
    targets = torch.ones(6, 4)
    config = LossConfig(label_smoothing=0.2)
    found = build_criterion(config, COUNTS, has_several=True)(logits, targets)
    softened = torch.full((6, 4), 0.9)
    expected = F.binary_cross_entropy_with_logits(logits, softened, reduction="none").sum(1)
    torch.testing.assert_close(found, expected)
