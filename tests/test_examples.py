"""The example scripts, at sizes that tell nothing."""

import pandas as pd
import pytest
import torch
from torch import nn

from examples import resnet_paper


@pytest.mark.slow
def test_figures_of_the_resnet_paper_are_drawn_from_what_was_trained(
    workspace, monkeypatch, capsys
):
    paths, competition = workspace
    monkeypatch.setattr(resnet_paper, "load", lambda *_, **__: workspace)
    options = ["--networks", "plain18_cifar", "resnet18_cifar", "--epochs", "2", "--limit", "16"]
    resnet_paper.main([competition.name, "--root", str(paths.root), *options])
    out = paths.artifacts_dir / "resnet-paper"
    for name in ("degradation", "responses"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    curves = pd.read_csv(out / "degradation.csv")
    assert curves["family"].tolist() == ["plain"] * 2 + ["resnet"] * 2
    assert curves["epoch"].tolist() == [1, 2, 1, 2]
    history = pd.read_csv(paths.experiment("paper-plain18_cifar").fold(0).history)
    for split in ("train", "val"):
        found = curves.loc[curves["family"] == "plain", f"{split}_error"].tolist()
        assert found == pytest.approx((1 - history[f"{split}_accuracy"]).tolist())
    responses = pd.read_csv(out / "responses.csv")
    for _, own in responses.groupby("network"):
        assert own["layer"].tolist() == list(range(1, 18))  # 18 less the linear one; no shortcuts
        assert own.sort_values("rank")["std"].is_monotonic_decreasing
    assert str(out) in capsys.readouterr().out


def test_responses_are_pooled_over_passes_before_any_nonlinearity():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    nn.init.normal_(norm.bias)
    network = nn.Sequential(norm, nn.ReLU(inplace=True)).eval()
    batches = [torch.randn(size, 3, 4, 4) + size for size in (2, 5)]
    with torch.no_grad(), resnet_paper.recorded_responses(network) as passes:
        for batch in batches:
            network(batch)
        expected = norm(torch.cat(batches)).double().std(correction=0).item()
    assert list(passes) == ["0"]
    assert resnet_paper.pooled_std(passes["0"]) == pytest.approx(expected, rel=1e-5)
