import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from pipeline.config.train_table import ScheduleConfig
from pipeline.training.optim import Schedule

NAMES = ("constant", "cosine", "one_cycle", "step")


def schedule(num_steps=50, steps_per_epoch=10, **config):
    return Schedule(ScheduleConfig(**config), num_steps, steps_per_epoch)


def factors(made, num_steps=50):
    return [made.factor(step) for step in range(num_steps)]


def torch_rates(build, num_steps=50):
    """Return the rates of one of torch's schedulers, for a peak of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = build(optimizer)
    rates = []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_constant_stays():
    assert set(factors(schedule(name="constant"))) == {1.0}


@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
def test_warm_up_rises_linearly_to_the_peak(name):
    made = schedule(name=name, warmup_epochs=1.5)
    assert factors(made, 15) == pytest.approx([(step + 1) / 15 for step in range(15)])
    assert made.factor(15) == 1.0


@pytest.mark.parametrize("final_factor", [0.0, 0.25])
def test_cosine_equals_torchs(final_factor):
    made = schedule(name="cosine", final_factor=final_factor)
    expected = torch_rates(lambda o: lr_scheduler.CosineAnnealingLR(o, 50, final_factor))
    assert factors(made) == pytest.approx(expected)


def test_cosine_starts_when_the_warm_up_ends():
    made, short = schedule(name="cosine", warmup_epochs=2.0), schedule(30, name="cosine")
    assert factors(made)[20:] == pytest.approx(factors(short, 30))


@pytest.mark.parametrize("peak_at", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("num_steps", [1, 7, 50])
def test_one_cycle_equals_torchs(peak_at, num_steps):
    made = schedule(num_steps, name="one_cycle", peak_at=peak_at)
    expected = torch_rates(
        lambda o: lr_scheduler.OneCycleLR(
            o, 1.0, num_steps, pct_start=peak_at, three_phase=False, cycle_momentum=False
        ),
        num_steps,
    )
    assert factors(made, num_steps) == pytest.approx(expected)


def test_one_cycle_may_peak_at_its_first_step():  # where torch divides by zero
    made = schedule(2, name="one_cycle", peak_at=0.5)
    assert factors(made, 2) == pytest.approx([1, 1 / 25 / 1e4])


def test_one_cycle_has_no_other_warm_up():
    plain, warmed = (schedule(name="one_cycle", warmup_epochs=epochs) for epochs in (0.0, 2.0))
    assert factors(plain) == factors(warmed)


def test_step_equals_torchs():
    made = schedule(name="step", step_epochs=1.5, gamma=0.5)
    expected = torch_rates(lambda o: lr_scheduler.StepLR(o, 15, 0.5))
    assert factors(made) == pytest.approx(expected)


@given(
    name=st.sampled_from(NAMES),
    num_epochs=st.integers(1, 20),
    steps_per_epoch=st.integers(1, 20),
    warmup_epochs=st.floats(0, 30),
    final_factor=st.floats(0, 1),
    peak_at=st.floats(0.01, 0.99),
    step_epochs=st.floats(0.5, 5),
)
def test_every_factor_lies_between_0_and_1(name, num_epochs, steps_per_epoch, **config):
    num_steps = num_epochs * steps_per_epoch
    made = schedule(num_steps, steps_per_epoch, name=name, **config)
    assert all(0 < made.factor(step) <= 1 for step in range(num_steps))
