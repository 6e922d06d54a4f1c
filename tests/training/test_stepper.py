"""One update: micro-batches, precision, memory that isn't enough, several processes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.config.train_table import TrainConfig
from pipeline.errors import ArtifactError, ConfigError
from pipeline.machine import rank
from pipeline.training import processes
from pipeline.training.checkpoint import State, load_state, save_state
from pipeline.training.losses import build_criterion
from pipeline.training.stepper import Stepper
from tests.training import in_processes


def stepper(module: nn.Module, **train: Any) -> Stepper:
    config = TrainConfig.model_validate({"batch_size": 8, "precision": "fp32"} | train)
    criterion = build_criterion(config.loss, np.array([4, 4]))
    return Stepper(config, module, lambda _: False, criterion, seed=0)


class Linear(nn.Module):
    """Runs out of memory, as a device would, on more images than `limit`."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)
        self.limit = limit
        self.sizes: list[int] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(inputs))
        if len(inputs) > self.limit:
            raise torch.OutOfMemoryError("out of memory")
        logits: torch.Tensor = self.layer(inputs)
        return logits


def learn(module: nn.Module, count: int = 8, **train: Any) -> torch.Tensor:
    """Take one step on so many points; return the weights after it."""
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(count, 3, generator=generator)
    targets = torch.eye(2)[torch.arange(count) % 2]
    optimizer = {"name": "sgd", "learning_rate": 0.1}
    own = points[processes.share_of(len(points)).rows]
    loss = stepper(module, optimizer=optimizer, **train).step(
        own, lambda loaded: loaded, targets, 0.1, (0, 0, 0)
    )
    assert torch.isfinite(loss)
    return next(module.parameters()).detach().clone()


def test_two_micro_batches_of_four_are_one_batch_of_eight():
    whole, split = Linear(8), Linear(4)
    expected = learn(whole)
    torch.testing.assert_close(learn(split, micro_batch_size=4), expected)
    assert (whole.sizes, split.sizes) == ([8], [4, 4])


def test_the_environment_divides_no_gradient(monkeypatch):
    expected = learn(Linear(8))
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    assert torch.equal(learn(Linear(8)), expected)


class Translated(nn.Module):
    """Stands for what torch.compile returns."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.sizes: list[int] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(inputs))
        logits: torch.Tensor = self.module(inputs)
        return logits


@pytest.mark.parametrize(("count", "translated"), [(8, [4, 4]), (5, [])])
def test_only_full_batches_are_translated(monkeypatch, count, translated):
    made, asked = [], []

    def translate(module: nn.Module, **options: Any) -> nn.Module:
        asked.append(options)
        made.append(Translated(module))
        return made[-1]

    monkeypatch.setattr(torch, "compile", translate)
    module = Linear(8)
    mode = "max-autotune-no-cudagraphs"
    learn(module, count, micro_batch_size=4, compile=True, compile_mode=mode)
    assert asked == [{"dynamic": False, "mode": mode}]
    assert made[0].sizes == translated
    assert sum(module.sizes) == count


def test_out_of_memory_halves_the_micro_batch_and_changes_nothing(capsys):
    expected = learn(Linear(8))
    small = Linear(3)
    torch.testing.assert_close(learn(small), expected)
    assert small.sizes == [8, 4, 2, 2, 2, 2]
    assert "out of memory with 8 images at once: going on with 4" in capsys.readouterr().err


def test_one_image_that_does_not_fit_is_an_error():
    with pytest.raises(ArtifactError, match=r"train\.micro_batch_size: must fit in memory, 1 im"):
        learn(Linear(0))


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(9, 8, [9]), (9, 4, [4, 5]), (9, 3, [3, 3, 3]), (3, 1, [1, 1, 1])]
)
def test_no_image_is_a_micro_batch_of_its_own_unless_all_are(count, size, sizes):
    module = Linear(9)
    learn(module, count, micro_batch_size=size, batch_size=size * count)
    assert module.sizes == sizes


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("count", [8, 9])
def test_mixing_needs_no_pairs_in_memory(count, limit):
    settings: Any = {"batch_size": count, "mixing": {"mixup_alpha": 1.0}}
    expected = learn(Linear(9), count, **settings)
    short = Linear(limit)
    torch.testing.assert_close(learn(short, count, **settings), expected)
    assert short.sizes[-1] <= limit


def test_odd_micro_batches_of_an_odd_batch_are_mixed_as_the_batch_is():
    settings: Any = {"batch_size": 9, "mixing": {"mixup_alpha": 1.0}}
    split = Linear(3)
    found = learn(split, 9, micro_batch_size=3, **settings)
    torch.testing.assert_close(found, learn(Linear(9), 9, **settings))
    assert split.sizes == [3, 3, 3]


def test_bfloat16_and_float32_take_one_path_and_nearly_the_same_step():
    bf16, fp32 = (learn(Linear(8), precision=name) for name in ("bf16", "fp32"))
    torch.testing.assert_close(bf16, fp32, atol=2e-3, rtol=0)
    assert not torch.equal(bf16, fp32)


def test_float16_needs_a_gpu():
    with pytest.raises(ConfigError, match=r"train\.precision: must be auto, bf16 or fp32 on this"):
        learn(Linear(8), precision="fp16")


def test_a_gradient_is_clipped():
    start = learn(Linear(8), clip_norm=1e-9)
    torch.manual_seed(0)
    torch.testing.assert_close(start, nn.Linear(3, 2).weight.detach(), atol=1e-8, rtol=0)


def learn_with_little_memory_in_one() -> tuple[list[int], list[float]]:
    module = Linear(8 if rank() == 0 else 1)
    weights = learn(module)
    return module.sizes, weights.flatten().tolist()


@pytest.mark.slow
def test_processes_agree_on_a_micro_batch_that_fits_in_the_smallest_memory():
    (sizes, weights), (their_sizes, theirs) = in_processes.run(learn_with_little_memory_in_one)
    assert sizes == [4, 2, 2, *8 * [1]]  # tried for the other's sake, and then learned from
    assert their_sizes == [4, 2, *8 * [1]]
    assert weights == theirs
    np.testing.assert_allclose(weights, learn(Linear(8)).flatten(), rtol=1e-5)


def learn_what_fits_one_alone() -> tuple[list[int], list[float]]:
    module = Linear(8 if rank() == 0 else 1)
    weights = learn(module, 5)
    return module.sizes, weights.flatten().tolist()


@pytest.mark.slow
def test_a_process_that_has_room_for_one_image_waits_for_the_others_to_agree():
    (_, weights), (sizes, theirs) = in_processes.run(learn_what_fits_one_alone)
    assert sizes[-3:] == [1, 1, 1]
    assert weights == theirs
    np.testing.assert_allclose(weights, learn(Linear(8), 5).flatten(), rtol=1e-5)


def refuse_for_all() -> str:
    with pytest.raises(ArtifactError) as caught:
        learn(Linear(8 if rank() == 0 else 0))
    return str(caught.value)


@pytest.mark.slow
def test_an_image_that_does_not_fit_in_one_process_is_an_error_in_all():
    first, second = in_processes.run(refuse_for_all)
    assert first == second
    assert "must fit in memory, 1 image doesn't" in first


class Normalised(Linear):
    """Normalises its inputs."""

    def __init__(self, limit: int = 8) -> None:
        super().__init__(limit)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(self.norm(inputs))


def test_batch_norm_forgets_what_it_saw_when_memory_was_not_enough():
    class Late(Normalised):
        """Has room for its second micro-batch only once that is smaller."""

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            self.limit = 8 if len(self.sizes) == 0 else 2
            return super().forward(inputs)

    late, plain = Late(), Normalised()
    learn(late, micro_batch_size=4)
    learn(plain, micro_batch_size=2)
    assert late.sizes == [4, 4, 2, 2, 2, 2]
    assert late.norm.num_batches_tracked == plain.norm.num_batches_tracked == 4
    torch.testing.assert_close(late.norm.running_mean, plain.norm.running_mean, rtol=0, atol=0)


def micro_batches_that_count() -> tuple[list[int], int]:
    module = Normalised(8 if rank() == 0 else 2)
    learn(module)
    return module.sizes, int(module.norm.num_batches_tracked or 0)


@pytest.mark.slow
def test_batch_norm_forgets_what_processes_tried_for_the_others_sake():
    (sizes, count), (their_sizes, theirs) = in_processes.run(micro_batches_that_count)
    assert (sizes, their_sizes) == ([4, 2, 2, 2, 2], [4, 2, 2, 2, 2])
    assert count == theirs == 2


STEPS = 10


def points_of(step: int) -> torch.Tensor:
    return torch.randn(8, 3, generator=torch.Generator().manual_seed(step)) + 10 * step


def statistics_after_steps() -> tuple[list[float], list[float]]:
    module = Normalised()
    engine = stepper(module, ema_decay=1e-9)
    targets = torch.eye(2)[torch.arange(8) % 2]
    for step in range(STEPS):
        own = points_of(step)[processes.share_of(8).rows]
        engine.step(own, lambda loaded: loaded, targets, 0.1, (step, 0, 0))
    engine.average_statistics()
    kept: Any = engine.kept_module
    mean: Any = module.norm.running_mean
    return mean.tolist(), kept.norm.running_mean.tolist()


@pytest.mark.slow
def test_statistics_of_batch_norm_are_the_mean_over_what_all_processes_saw():
    expected = torch.zeros(3)
    for step in range(STEPS):
        expected = torch.lerp(expected, points_of(step).mean(0), 0.1)
    for found in in_processes.run(statistics_after_steps):
        np.testing.assert_allclose(found, [expected.tolist()] * 2, rtol=1e-4)


class Hungry(Linear):
    """Takes 256 MB of a GPU's memory for every image."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        ballast = inputs.new_empty(len(inputs), 2**26)
        logits = super().forward(inputs)
        del ballast
        return logits


@pytest.mark.gpu
def test_out_of_memory_on_a_gpu_halves_the_micro_batch(capsys):
    expected = learn_on_gpu(Linear(8))
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(1.5e9 / total)
    try:
        found = learn_on_gpu(Hungry(8))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    torch.testing.assert_close(found, expected)
    assert "out of memory with 8 images at once: going on with 4" in capsys.readouterr().err


def learn_on_gpu(module: nn.Module) -> torch.Tensor:
    points = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    optimizer = {"name": "sgd", "learning_rate": 0.1}
    targets = torch.eye(2)[torch.arange(8) % 2]
    engine = stepper(module, optimizer=optimizer)
    engine.step(points, lambda loaded: loaded.cuda(), targets, 0.1, (0, 0, 0))
    return next(module.parameters()).detach().cpu()


def goes_on_as_it_would(path: Path, precision: str, device: str) -> State:
    """Hold a stepper that was restored after three steps to one that went on; return its state."""
    optimizer = {"name": "adamw", "learning_rate": 0.1}
    straight, again = Linear(8), Linear(8)
    first, resumed = (
        stepper(module, precision=precision, clip_norm=1.0, ema_decay=0.9, optimizer=optimizer)
        for module in (straight, again)
    )

    def step(engine: Stepper, number: int) -> None:
        points = torch.randn(8, 3, generator=torch.Generator().manual_seed(number))
        targets = torch.eye(2)[torch.arange(8) % 2]
        engine.step(points, lambda loaded: loaded.to(device), targets, 0.1, (number, 0, 0))

    for number in range(3):
        step(first, number)
    # By way of a file: an optimizer would adopt the very tensors of the other.
    save_state(path, "key", first.state_dict())
    state = load_state(path, "key")
    assert state is not None
    resumed.load_state_dict(state)
    for number in (3, 4):
        step(first, number)
        step(resumed, number)
    assert torch.equal(straight.layer.weight, again.layer.weight)
    for average, other in zip(
        *(one.kept_module.parameters() for one in (first, resumed)), strict=True
    ):
        assert torch.equal(average, other)
    return state


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_was_restored_goes_on_as_it_would_have(tmp_path, precision):
    assert goes_on_as_it_would(tmp_path / "state.pt", precision, "cpu")["scaler"] is None


@pytest.mark.gpu
def test_scaled_gradients_go_on_with_their_scale(tmp_path):
    assert goes_on_as_it_would(tmp_path / "state.pt", "fp16", "cuda")["scaler"]["scale"] > 1
