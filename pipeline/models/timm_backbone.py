"""Build networks of the timm library, whole or without their heads."""

import inspect
from functools import partial
from typing import Any

import timm
import torch
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config.strict import did_you_mean
from pipeline.errors import ArtifactError, ConfigError
from pipeline.models.network import Network

HUB = "hf-hub:"
# How far logits may differ by rounding, of the greatest one.
MOST_GAP = 1e-4
# Our options and timm's names for them.
DROPS = {"drop_path": "drop_path_rate", "dropout": "drop_rate"}


def build_timm_trunk(name: str, size_px: int | None = None, pool: str | None = None) -> nn.Module:
    """Build a timm network that ends in its pooled features: `(N, 3, H, W)` → `(N, D)`.

    Args:
        name: timm's name, with or without the tag of its weights, or `hf-hub:` and the id of a
            repository on the Hugging Face hub.
        size_px: H = W, None for the network's own.
        pool: "token+mean", or None for the network's own.

    Raises:
        ConfigError: timm has no such network, or not for that size.
        ArtifactError: The hub doesn't say what the network is.
    """
    _check_name(name)
    trunk: nn.Module = _create(name, num_classes=0, **_size(name, size_px))
    if pool:
        _pool_token_and_mean(trunk, name, 0)
    return trunk


def build_timm_network(
    name: str,
    num_classes: int,
    *,
    size_px: int | None = None,
    drop_path: float = 0.0,
    dropout: float = 0.0,
    pool: str | None = None,
) -> Network:
    """Build a timm network with its trunk/head boundary.

    Most networks end in one linear layer (or 1x1 convolution) that reads pooled features: that
    layer is the head, with a norm before it where timm drops both together (EfficientViT, SHViT).
    Where timm has several or other classifiers, the boundary lies before the pooling, and the
    head's parameters are the classifiers' all the same.

    Args:
        name: As for `build_timm_trunk`.
        num_classes: K.
        size_px: As for `build_timm_trunk`.
        drop_path: Probability that the last residual branch is skipped in training.
        dropout: Probability that a feature before the classifier is.
        pool: As for `build_timm_trunk`.

    Raises:
        ConfigError: timm has no such network, or not with these options, or it classifies nothing.
        ArtifactError: The hub doesn't say what the network is.
    """
    _check_name(name)
    drops = {"drop_path_rate": drop_path or None, "drop_rate": dropout or None}
    module = _create(name, num_classes, **_size(name, size_px), **drops)
    if pool:
        _pool_token_and_mean(module, name, num_classes)
    classifiers = _classifiers(module)
    if not classifiers:
        raise ConfigError(f"model.name: must be a classifier, 'timm/{name}' has no classifier")
    if any(isinstance(classifier, nn.ModuleList) for classifier in classifiers):
        raise ConfigError(
            f"model.name: must have one trunk under its classifier, 'timm/{name}' has several"
        )
    names = {id(part): part_name for part_name, part in module.named_modules()}
    head_names = tuple(names[id(classifier)] for classifier in classifiers)
    only = classifiers[0] if len(classifiers) == 1 else None
    if isinstance(only, nn.Linear | nn.Conv2d):
        trunk = partial(_pooled_trunk, module)
        if part := _part_with_norm(module, head_names[0]):
            head = partial(_normed_head, module.get_submodule(part), dropout)
            return Network(module, trunk, head, (part,))
        # Left to itself, timm counts dropout as the trunk's; frozen, it would be switched off.
        return Network(module, trunk, partial(_single_head, only, dropout), head_names)
    return Network(module, module.forward_features, module.forward_head, head_names)


def _check_name(name: str) -> None:
    """Refuse a name that no network of timm has, and a tag that no weights of it have."""
    if name.startswith(HUB):
        return
    network, _, tag = name.partition(".")
    if not timm.is_model(network):
        similar = timm.list_models(f"*{network}*")[:3]
        hint = f"; timm has {', '.join(similar)}" if similar else ""
        raise ConfigError(f"model.name: timm must know the network, knows no '{network}'{hint}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{network}.*")]
    if tag and tag not in tags:
        hint = did_you_mean(tag, tags) or f"; it knows {', '.join(tags) or 'none'}"
        raise ConfigError(
            f"model.name: timm must know weights of '{network}' by the tag, knows no '{tag}'{hint}"
        )


def _create(name: str, num_classes: int, **options: Any) -> Any:
    """Call timm; what it returns has methods that `nn.Module` hasn't."""
    try:
        return timm.create_model(name, pretrained=False, num_classes=num_classes, **options)
    except TypeError as error:
        for option, keyword in DROPS.items():
            if f"'{keyword}'" in str(error):
                raise ConfigError(
                    f"model.{option}: must be 0 for 'timm/{name}', which takes none"
                ) from error
        raise
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ArtifactError(
            f"timm/{name}: the hub must say what the network is, doesn't ({reason}); set "
            "HF_ENDPOINT to a mirror, or use the network's name in timm"
        ) from error


def _size(name: str, size_px: int | None) -> dict[str, int]:
    """Find what timm must be told for images of a size, and try that on an image of no data.

    Transformers mostly have one position embedding per place; timm builds those for another size,
    and fits their weights to it.
    """
    if size_px is None:
        return {}
    with torch.device("meta"), torch.no_grad():
        trial = _create(name, num_classes=0)
        own_px = trial.pretrained_cfg["input_size"][-1]
        options = {"img_size": size_px} if trial.pretrained_cfg.get("fixed_input_size") else {}
        if own_px == size_px:
            return {}
        try:
            trial = _create(name, num_classes=0, **options)
            trial.eval()(torch.empty(1, 3, size_px, size_px))
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(
                f"timm/{name}: images must be of a size that it can take, are {size_px} x "
                f"{size_px} pixels ({reason or 'refused'}); its own is images.size_px={own_px}"
            ) from error
    return options


def _classifiers(module: Any) -> list[nn.Module]:
    """List what turns features into logits: one, two where it was distilled, VOLO's auxiliary."""
    found = module.get_classifier() if hasattr(module, "get_classifier") else None
    parts = [*(found if isinstance(found, tuple) else [found]), getattr(module, "aux_head", None)]
    return [part for part in parts if isinstance(part, nn.Module) and list(part.parameters())]


def _pool_token_and_mean(module: Any, name: str, num_classes: int) -> None:
    """Let a vision transformer's head read its class token and the mean of its places."""
    by_token = getattr(module, "global_pool", "") == "token" and hasattr(type(module), "pool")
    if not by_token or getattr(module, "cls_token", None) is None:
        raise ConfigError(
            f"model.pool: must be left out for 'timm/{name}', is 'token+mean', applies to vision "
            "transformers that pool by a class token"
        )
    # Beside the class's own method, and without the network in it, of which it'd be copied.
    module.__dict__["pool"] = partial(_token_and_mean, module.num_prefix_tokens)
    if num_classes:
        module.head = nn.Linear(2 * module.num_features, num_classes)
        nn.init.trunc_normal_(module.head.weight, std=0.02)
        nn.init.zeros_(module.head.bias)


def _token_and_mean(num_prefix: int, tokens: Tensor, _: object = None) -> Tensor:
    return torch.cat([tokens[:, 0], tokens[:, num_prefix:].mean(1)], dim=1)  # (N, 2D)


def _part_with_norm(module: nn.Module, classifier: str) -> str:
    """Find the part around a classifier that timm applies as a whole; empty where it is alone.

    timm's own heads say by an argument `pre_logits` that their other layers are the trunk's.
    """
    words = classifier.split(".")
    around = [".".join(words[:end]) for end in range(1, len(words))]
    for name in around:
        if "pre_logits" in inspect.signature(module.get_submodule(name).forward).parameters:
            return ""
    return around[0] if around else ""


def _normed_head(part: nn.Module, dropout: float, features: Tensor) -> Tensor:
    if not any(isinstance(layer, nn.Dropout) for layer in part.modules()):
        features = F.dropout(features, dropout, part.training)
    logits: Tensor = part(features)
    return logits


def check_boundary(network: Network, name: str, size_px: int | None) -> None:
    """Refuse a network whose trunk and head aren't the whole of it, by the logits of an image.

    Args:
        network: With its weights, on the CPU.
        name: Its name, for the error.
        size_px: Height and width of its images; None for its own.

    Raises:
        ConfigError: `head(trunk(x))` differs from `module(x)`.
    """
    module = network.module
    was_training = module.training
    side = size_px or getattr(module, "pretrained_cfg", {}).get("input_size", (3, 224))[-1]
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        module.eval()
        expected, found = module(image), network.head(network.trunk(image))
    module.train(was_training)
    gap = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
    if not gap < MOST_GAP:
        raise ConfigError(
            f"model.name: head(trunk(x)) must give the network's logits, differs for '{name}' by "
            f"{gap:.1e} of the greatest; choose another network"
        )


def _pooled_trunk(module: Any, images: Tensor) -> Tensor:
    pooled: Tensor = module.forward_head(module.forward_features(images), pre_logits=True)
    return pooled.flatten(1)  # (N, D), also from (N, D, 1, 1)


def _single_head(classifier: nn.Linear | nn.Conv2d, dropout: float, features: Tensor) -> Tensor:
    features = F.dropout(features, dropout, classifier.training)
    if isinstance(classifier, nn.Conv2d):
        features = features[:, :, None, None]  # (N, D) → (N, D, 1, 1)
    logits: Tensor = classifier(features)
    return logits.flatten(1)
