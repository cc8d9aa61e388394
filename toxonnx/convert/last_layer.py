"""The last linear layer of a classifier, whose outputs are the logits."""

from __future__ import annotations

import copy

from torch import nn
from transformers import PreTrainedModel

__all__ = ["copy_with_own_last_layer"]


def copy_with_own_last_layer(model: PreTrainedModel, outputs: int) -> tuple[PreTrainedModel, nn.Linear | None]:
    """A copy of a classifier whose last linear layer can be given other parameters.

    All parameters, those of that layer included, are the given model's until they are replaced. Some heads do more
    than this layer, and modules need not be in the order in which they are computed: callers compare logits.

    Args:
        model: the classifier; it is not changed.
        outputs: number of logits.

    Returns:
        The copy, and its last linear layer with as many outputs; None if it has no such layer.
    """
    copied = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    layers = [layer for layer in copied.modules() if isinstance(layer, nn.Linear) and layer.out_features == outputs]
    return copied, layers[-1] if layers else None
