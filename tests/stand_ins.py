"""Parts that say or do nothing, for tests of what is built around them."""

import torch


class NoFeatures(torch.nn.Module):
    """An encoder that says nothing of the condition."""

    n_features = 1

    def forward(self, condition):
        return torch.zeros(len(condition), 1, dtype=condition.shift.dtype)


class Field(torch.nn.Module):
    """A field whose context is the features."""

    def context(self, features, controls):
        return features


def unused(step):
    raise AssertionError("an ODE has no noise")
