"""Training of a torch module by thinc's optimizers: steps, averages, mixed precision.

thinc's own PyTorch shim does not support `use_averages` and `nlp.rehearse`, and updates parameters
one by one. A trainer supports both, and updates all parameters at once.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from thinc.api import Optimizer
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .optimizers import LearnRateWatch, TorchStep

ParameterGroups = Callable[[nn.Module, Any], list[dict[str, Any]]]


def one_group(module: nn.Module, optimizer: Any) -> list[dict[str, Any]]:
    """Update all parameters at the rate of thinc's optimizer.

    module (Module): the module.
    optimizer (Optimizer): thinc's optimizer.
    RETURNS (list[dict]): one group for torch's optimizer. `rate_scale` is a factor of the rate.
    """
    return [{"params": list(module.parameters()), "rate_scale": 1.0}]


class Trainer:
    """Updates and averages the parameters of a module.

    module (Module): the module.
    n_steps (int): number of updates.
    rate_watch (LearnRateWatch): the learn rate of the last update.
    """

    def __init__(self, module: nn.Module, name: str, groups: ParameterGroups = one_group) -> None:
        """Create a trainer.

        module (Module): the module.
        name (str): prefix of the keys of averages, unique in the process.
        groups (Callable): returns the parameter groups for the module and thinc's optimizer.
        """
        self.module = module
        self.n_steps = 0
        self.rate_watch = LearnRateWatch()
        self._name = name
        self._groups = groups
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Forget the optimizer's state, since parameters were replaced."""
        self._optimizer: torch.optim.Optimizer | None = None
        self._optimizer_of: Any = None

    def finish_update(self, optimizer: Optimizer) -> None:
        """Update all parameters at once with the settings of thinc's optimizer. Clear gradients.

        Unlike in thinc, gradients are clipped by their norm over the whole module, not per
        parameter. Averages are stored in `optimizer.averages` under keys of this trainer.

        optimizer (Optimizer): thinc's optimizer, or the replacement that `nlp.rehearse` passes.
        """
        parameters = [p for p in self.module.parameters() if p.grad is not None]
        if not parameters:
            return
        step = TorchStep.read(optimizer)
        self.rate_watch.record(optimizer, step.learn_rate)
        # The replacement that `nlp.rehearse` passes uses the moments of the last optimizer.
        changed = isinstance(optimizer, Optimizer) and optimizer is not self._optimizer_of
        torchs = self._optimizer
        if torchs is None or changed:
            torchs = self._build(optimizer, step)
        if step.grad_clip > 0.0:
            nn.utils.clip_grad_norm_(parameters, step.grad_clip)
        step.apply(torchs)
        torchs.step()
        self.n_steps += 1
        torchs.zero_grad(set_to_none=True)
        averages = getattr(optimizer, "averages", None)
        if averages is not None:
            self._update_averages(averages, optimizer.nr_update)

    def _build(self, optimizer: Optimizer, step: TorchStep) -> torch.optim.Optimizer:
        self._optimizer = step.build(self._groups(self.module, optimizer))
        self._optimizer_of = optimizer
        return self._optimizer

    def state(self) -> dict[str, Any]:
        """Return the state of torch's optimizer.

        RETURNS (dict[str, Any]): see torch's `Optimizer.state_dict`; empty before the first update.
        """
        return {} if self._optimizer is None else self._optimizer.state_dict()

    def restore(self, optimizer: Optimizer, state: dict[str, Any]) -> None:
        """Restore the state of torch's optimizer.

        optimizer (Optimizer): thinc's optimizer, whose settings are those of the next step.
        state (dict[str, Any]): the output of `state`.
        """
        torchs = self._build(optimizer, TorchStep.read(optimizer))
        torchs.load_state_dict(state)
        for parameter, values in torchs.state.items():
            for name, value in values.items():
                if value.shape == parameter.shape:
                    # On a GPU, a fused step requires the strides of the parameter. Those of an
                    # array from a file can differ, for instance if it is empty.
                    values[name] = torch.empty_like(parameter).copy_(value)

    def _update_averages(self, averages: dict[Any, Any], nr_update: dict[Any, int]) -> None:
        parameters = {
            name: parameter
            for name, parameter in self.module.named_parameters()
            if parameter.requires_grad
        }
        clock = (self._name, "network")
        nr_update[clock] += 1
        # The same rate as in thinc's `Ops.update_averages`, fast at first, then slow.
        count = nr_update[clock]
        decay = min((1.0 + count) / (10.0 + count), 0.9999)
        for name, parameter in parameters.items():
            kept = averages.get(self._key(name))
            if kept is None or kept.shape != parameter.shape:  # new, or resized
                averages[self._key(name)] = parameter.detach().clone()
        get_ema_multi_avg_fn(decay)(
            [averages[self._key(name)] for name in parameters],
            [parameter.detach() for parameter in parameters.values()],
            count,
        )

    def _key(self, name: str) -> tuple[str, str]:
        # thinc's models have keys of the form (number, name), so these cannot collide with them.
        return (self._name, name)

    @contextlib.contextmanager
    def use_params(self, params: dict[Any, Any]) -> Iterator[None]:
        """Use averaged parameters within the context.

        params (dict): the `averages` of the optimizer that updated the module. Other keys are
            ignored.
        """
        named = dict(self.module.named_parameters())
        kept = {name: params.get(self._key(name)) for name in named}
        averaged = {  # without averages from before a resize
            name: average
            for name, average in kept.items()
            if average is not None and average.shape == named[name].shape
        }
        backup = {name: named[name].detach().clone() for name in averaged}
        try:
            _assign(named, averaged)
            yield
        finally:
            _assign(named, backup)


def _assign(parameters: dict[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)
