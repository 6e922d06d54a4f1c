"""Networks of the timm library: whole, or without their heads."""

from collections.abc import Callable
from typing import Any

import timm
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from torch import Tensor, nn

from pipeline.errors import ArtifactError, ConfigError
from pipeline.models.network import Network

HUB = "hf-hub:"


def build_timm_trunk(name: str) -> nn.Module:
    """Build a timm network that ends in its pooled features: `(N, 3, H, W)` → `(N, D)`.

    Args:
        name: timm's name, or `hf-hub:` and the id of a repository on the Hugging Face hub.

    Raises:
        ConfigError: timm has no such network.
        ArtifactError: The hub doesn't say what the network is.
    """
    trunk: nn.Module = _create(name, num_classes=0)
    return trunk


def build_timm_network(name: str, num_classes: int) -> Network:
    """Build a timm network with its trunk/head boundary.

    Most networks end in one linear layer (or 1x1 convolution) that reads pooled features: that
    layer is the head. Where timm has several or other classifiers, the boundary lies before the
    pooling, and the head's parameters are the classifiers' all the same.

    Args:
        name: As for `build_timm_trunk`.
        num_classes: K.

    Raises:
        ConfigError: timm has no such network, or it classifies nothing.
        ArtifactError: The hub doesn't say what the network is.
    """
    module = _create(name, num_classes)
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
        return Network(module, _pooled_trunk(module), _single_head(only), head_names)
    return Network(module, module.forward_features, module.forward_head, head_names)


def _create(name: str, num_classes: int) -> Any:  # has methods that nn.Module hasn't
    # A tag behind a dot names weights, which don't come from timm.
    if not name.startswith(HUB) and ("." in name or not timm.is_model(name)):
        similar = timm.list_models(f"*{name.split('.')[0]}*")[:3]
        hint = f"; timm has {', '.join(similar)}" if similar else ""
        raise ConfigError(f"model.name: timm must know the network, knows no '{name}'{hint}")
    try:
        return timm.create_model(name, pretrained=False, num_classes=num_classes)
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ArtifactError(
            f"timm/{name}: the hub must say what the network is, doesn't ({reason}); set "
            "HF_ENDPOINT to a mirror, or use the network's name in timm"
        ) from error


def _classifiers(module: Any) -> list[nn.Module]:
    """List what turns features into logits: one, two where it was distilled, VOLO's auxiliary."""
    found = module.get_classifier() if hasattr(module, "get_classifier") else None
    parts = [*(found if isinstance(found, tuple) else [found]), getattr(module, "aux_head", None)]
    return [part for part in parts if isinstance(part, nn.Module) and list(part.parameters())]


def _pooled_trunk(module: Any) -> Callable[[Tensor], Tensor]:
    def trunk(images: Tensor) -> Tensor:
        pooled: Tensor = module.forward_head(module.forward_features(images), pre_logits=True)
        return pooled.flatten(1)  # (N, D), also from (N, D, 1, 1)

    return trunk


def _single_head(classifier: nn.Linear | nn.Conv2d) -> Callable[[Tensor], Tensor]:
    def head(features: Tensor) -> Tensor:
        if isinstance(classifier, nn.Conv2d):
            features = features[:, :, None, None]  # (N, D) → (N, D, 1, 1)
        logits: Tensor = classifier(features)
        return logits.flatten(1)

    return head
