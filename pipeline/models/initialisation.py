"""Random weights from which deep ReLU networks learn."""

from torch import nn


def he_initialisation(network: nn.Module) -> None:
    """Draw the weights of all convolutions from `N(0, 2 / (k² · channels out))`, in place.

    He et al. 2015, "Delving Deep into Rectifiers", eq. 14 (fan out), which keeps the variance of
    the gradient from layer to layer; eq. 10 (fan in) keeps the activations' and does as well, says
    the paper. Fan out is what torchvision and timm draw. Linear layers and batch norms keep
    PyTorch's own start, also as there.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
