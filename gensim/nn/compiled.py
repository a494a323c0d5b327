"""Fields through torch.compile: the same network in fewer passes over memory."""

import torch
from torch import nn

from gensim.errors import ConfigError
from gensim.nn.field import ConditionalField


def compile_fields(model: nn.Module, device: torch.device | str) -> None:
    """Compile every conditional field of `model` in place; names and values of the weights stay.

    Nothing is compiled before a field is first called, and again for every further shape: call it with one. That first
    call takes seconds to minutes. Sums are taken in another order than without, so the last bits of the cells differ.

    Args:
        device: on which the fields run.

    Raises:
        ConfigError: torch cannot compile here, for instance because there is no C++ compiler.
    """
    try:
        torch.compile(torch.neg, dynamic=False)(torch.zeros(1, device=device))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"solver.compile=true needs a C++ compiler (g++, or the one that $CXX names) with Python's headers, and on "
            f"a GPU triton; torch.compile says: {reason}. Install what is missing, or set solver.compile=false"
        ) from error
    for module in model.modules():
        if isinstance(module, ConditionalField):
            module.compile(dynamic=False)
