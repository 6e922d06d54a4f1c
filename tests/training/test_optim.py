import pytest
import torch
from timm.optim import list_optimizers  # type: ignore[attr-defined]
from torch import nn
from torch.nn import functional as F

from pipeline.config.experiment import ModelConfig
from pipeline.config.train_table import OptimizerConfig
from pipeline.errors import ConfigError
from pipeline.models.registry import build_model
from pipeline.models.split import split
from pipeline.training.optim import build_optimizer

NAMES = [str(name) for name in list_optimizers()]
# These import packages that aren't installed, or want second derivatives.
FOREIGN = ("bnb", "fused", "adahessian")
QUICK = ("adamw", "lamb", "sgd", "adafactor")
RUNNING = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
    for name in NAMES
    if not name.startswith(FOREIGN)
]


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 9, 2))


def is_head(name):
    return name.startswith("3.")


def build(name="adamw", module=None, **options):
    return build_optimizer(
        OptimizerConfig(name=name, **options), module or small_network(), is_head
    )


def by_name(module, optimizer, key):
    """Return what the parameter groups say of every parameter."""
    values = {id(p): group[key] for group in optimizer.param_groups for p in group["params"]}
    return {name: values.get(id(parameter)) for name, parameter in module.named_parameters()}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)],
)
def test_optimizers_are_found_by_name(name, kind):
    optimizer = build(name, learning_rate=0.25)
    assert type(optimizer) is kind
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}


def test_sgd_has_nesterovs_momentum_unless_it_has_none():
    assert build("sgd").defaults["nesterov"]
    assert build("sgd").defaults["momentum"] == 0.9
    assert not build("sgd", momentum=0.0).defaults["nesterov"]


def test_biases_and_norms_do_not_decay():
    module = small_network()
    decays = by_name(module, build(module=module, weight_decay=0.1), "weight_decay")
    assert decays == {
        "0.weight": 0.1,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
        "3.weight": 0.1,
        "3.bias": 0.0,
    }


def test_tokens_and_position_embeddings_of_timm_do_not_decay():
    module = build_model(ModelConfig(name="timm/test_vit", weights="none"), num_classes=2).module
    decays = by_name(module, build(module=module, weight_decay=0.1), "weight_decay")
    assert decays["pos_embed"] == decays["cls_token"] == 0.0
    assert decays["patch_embed.proj.weight"] == 0.1


def test_nor_do_they_where_layers_below_are_frozen():
    model = ModelConfig(name="timm/swin_tiny_patch4_window7_224", weights="none")
    network = build_model(model, num_classes=2, size_px=56)
    module = split(network, "layers.2", torch.zeros(2, 3, 56, 56)).upper
    table = "layers.3.blocks.0.attn.relative_position_bias_table"  # two dimensions
    decays = by_name(module, build(module=module, weight_decay=0.1), "weight_decay")
    assert decays[table] == 0.0
    assert decays["head.fc.weight"] == 0.1


def test_frozen_parameters_are_left_out():
    module = small_network()
    module[0].requires_grad_(requires_grad=False)
    factors = by_name(module, build(module=module), "rate_factor")
    assert factors == {
        "0.weight": None,
        "0.bias": None,
        "1.weight": 1.0,
        "1.bias": 1.0,
        "3.weight": 1.0,
        "3.bias": 1.0,
    }


@pytest.mark.parametrize("name", ["sgd", "adamw", "timm/lamb"])
def test_groups_carry_the_factor_of_their_learning_rate(name):
    module = small_network()
    optimizer = build(name, module, learning_rate=0.5, layer_decay=0.5, head_factor=8.0)
    factors = by_name(module, optimizer, "rate_factor")
    assert factors["0.weight"] == factors["1.bias"] == 0.5
    assert factors["3.weight"] == 8.0
    rates = by_name(module, optimizer, "lr")
    assert rates == {parameter: 0.5 * factor for parameter, factor in factors.items()}


def test_without_decays_there_is_one_group():
    assert len(build().param_groups) == 1


@pytest.mark.filterwarnings("ignore:It is highly recommended to have 'opt_einsum':UserWarning")
@pytest.mark.parametrize("name", RUNNING)
def test_every_optimizer_of_timm_takes_a_step(name):
    module = small_network()
    before = {key: tensor.clone() for key, tensor in module.named_parameters()}
    optimizer = build(f"timm/{name}", module, learning_rate=0.1, weight_decay=0.1)
    assert {group["rate_factor"] for group in optimizer.param_groups} == {1.0}
    images = torch.randn(8, 3, 5, 5)
    for _ in range(2):  # the first step of some only looks around
        optimizer.zero_grad()
        F.cross_entropy(module(images), torch.arange(8) % 2).backward()
        optimizer.step()
    for key, parameter in module.named_parameters():
        assert parameter.isfinite().all(), key
    assert not torch.equal(module[3].weight, before["3.weight"])


def test_an_unknown_optimizer_of_timm_is_refused_with_the_closest_one():
    with pytest.raises(
        ConfigError,
        match=r"^train\.optimizer\.name: must name an optimizer of timm, is 'timm/lambb'; "
        r"did you mean 'timm/lamb'\?$",
    ):
        build("timm/lambb")


def test_an_optimizer_like_none_of_timm_is_refused_with_all_of_them():
    with pytest.raises(ConfigError, match=r"is 'timm/0123456789'; it has adabelief, .*, sgdw$"):
        build("timm/0123456789")


def test_an_optimizer_of_second_order_is_refused():
    with pytest.raises(ConfigError, match="'timm/adahessian' wants second derivatives"):
        build("timm/adahessian")


def test_an_optimizer_that_cannot_run_here_is_refused():
    expected = "must run on this machine, 'timm/bnbadam' doesn't: .*bitsandbytes"
    with pytest.raises(ConfigError, match=expected):
        build("timm/bnbadam")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_one_kernel_updates_all_parameters_on_a_gpu(name):
    assert build(name, small_network().cuda()).defaults["fused"]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_one_pass_updates_as_one_operation_after_the_other_does(name):
    modules = [small_network().to(memory_format=torch.channels_last) for _ in range(2)]
    optimizers = [build(name, module, weight_decay=0.1) for module in modules]
    assert optimizers[0].defaults["fused"]
    for group in optimizers[1].param_groups:
        group["fused"] = False
    images = torch.randn(8, 3, 5, 5)
    for module, optimizer in zip(modules, optimizers, strict=True):
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(module(images), torch.arange(8) % 2).backward()
            optimizer.step()
    for one, other in zip(*(module.parameters() for module in modules), strict=True):
        torch.testing.assert_close(one, other)
