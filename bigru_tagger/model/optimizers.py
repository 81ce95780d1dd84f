"""SGD with momentum, which thinc does not provide, and optimizer steps of thinc run by torch.

`spacy train` calls `optimizer.step_schedules()` after each update. A custom loop of `nlp.update`
must do the same. `LearnRateWatch` warns if it does not.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import torch
from thinc.api import Optimizer, registry
from thinc.optimizers import FloatOrSeq

from ..errors import ConfigError


@registry.optimizers("bigru_tagger.SGD.v1")
def SGD(  # noqa: N802
    learn_rate: FloatOrSeq,
    *,
    momentum: float = 0.9,
    L2: FloatOrSeq = 0.0,  # noqa: N803
    L2_is_weight_decay: bool = True,  # noqa: N803
    grad_clip: FloatOrSeq = 1.0,
    use_averages: bool = True,
) -> Optimizer:
    """Build SGD with momentum: v = momentum · v + gradient, parameter -= learn_rate · v.

    Momentum applies to the networks of this package. thinc layers, such as an upstream `tok2vec`,
    are updated without momentum, as by thinc's `SGD.v1`.

    learn_rate (float | list[float] | Generator): the learn rate, or its schedule.
    momentum (float): factor of v, at least 0 and below 1.
    L2 (float | list[float] | Generator): weight decay.
    L2_is_weight_decay (bool): decoupled weight decay: multiply the parameters by
        1 - learn_rate · L2. Otherwise add L2 · parameter to the gradient.
    grad_clip (float | list[float] | Generator): maximum norm of the gradient; 0 for no clipping.
    use_averages (bool): average the parameters over steps, and use the averages for evaluation and
        in the saved model.
    RETURNS (Optimizer): for `[training.optimizer]`.
    RAISES (ValueError): if the momentum is not at least 0 and below 1.
    """
    if not 0.0 <= momentum < 1.0:
        raise ConfigError(f"momentum must be at least 0 and below 1; got {momentum}")
    # With a second beta of 0, neither thinc nor our shim uses Adam.
    return Optimizer(
        learn_rate,
        L2=L2,
        beta1=momentum,
        beta2=0.0,
        grad_clip=grad_clip,
        use_averages=use_averages,
        L2_is_weight_decay=L2_is_weight_decay,
    )


@dataclass(frozen=True)
class TorchStep:
    """The settings of one optimizer step.

    kind (str): "adam", "radam" or "sgd", with a final "w" for decoupled weight decay.
    learn_rate (float): the learn rate.
    betas (tuple[float, float]): decay rates of the moments. The first is SGD's momentum.
    eps (float): term that prevents division by zero in Adam.
    weight_decay (float): weight decay, before multiplication by the learn rate.
    grad_clip (float): maximum norm of the gradient; 0 for no clipping.
    """

    kind: str
    learn_rate: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    grad_clip: float

    @classmethod
    def read(cls, optimizer: Any) -> "TorchStep":
        """Read the settings of the next step.

        optimizer (Optimizer): thinc's optimizer, or the replacement that `nlp.rehearse` passes.
        RETURNS (TorchStep): the settings.
        """
        beta1, beta2 = float(optimizer.b1), float(optimizer.b2)
        decoupled = getattr(optimizer, "L2_is_weight_decay", True)
        if getattr(optimizer, "use_radam", False):
            kind = "radam"
        elif beta1 > 0.0 and beta2 > 0.0:
            kind = "adam"
        else:
            kind = "sgd"
        return cls(
            kind=kind + ("w" if decoupled else ""),
            learn_rate=float(optimizer.learn_rate),
            betas=(beta1, beta2),
            eps=float(getattr(optimizer, "eps", 1e-8)),
            weight_decay=float(getattr(optimizer, "L2", 0.0)),
            grad_clip=float(getattr(optimizer, "grad_clip", 0.0)),
        )

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Build a torch optimizer of this kind.

        groups (list[dict]): its parameter groups, each with a `rate_scale`.
        RETURNS (Optimizer): the optimizer, without moments.
        """
        if self.kind.startswith("radam"):
            return torch.optim.RAdam(
                groups, foreach=True, decoupled_weight_decay=self.kind == "radamw"
            )
        if self.kind == "adamw":
            return torch.optim.AdamW(groups, fused=True)
        if self.kind == "adam":
            return torch.optim.Adam(groups, fused=True)
        return torch.optim.SGD(groups, foreach=True)

    def apply(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the settings of a torch optimizer before its step.

        optimizer (Optimizer): the optimizer returned by `build`.
        """
        for group in optimizer.param_groups:
            group["lr"] = self.learn_rate * group["rate_scale"]
            group["weight_decay"] = self.weight_decay
            if "betas" in group:
                group["betas"] = self.betas
                group["eps"] = self.eps
            else:
                group["momentum"] = self.betas[0]
                if self.kind == "sgdw":
                    # Decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101,
                    # algorithm 1). torch's SGD would add the decay to the momentum.
                    group["weight_decay"] = 0.0
                    shrink = 1.0 - group["lr"] * self.weight_decay
                    with torch.no_grad():
                        for parameter in group["params"]:
                            if parameter.grad is not None:
                                parameter.mul_(shrink)


class _CountedSchedule:
    """A schedule that counts its steps."""

    def __init__(self, values: Iterator[float]) -> None:
        self.values = values
        self.n_steps = 0
        self.has_warned = False

    def __iter__(self) -> "_CountedSchedule":
        return self

    def __next__(self) -> float:
        self.n_steps += 1
        return next(self.values)

    def would_change(self, rate: float) -> bool:
        """Check whether the next step would change the rate.

        rate (float): the current value.
        RETURNS (bool): whether there is a next value that differs from the current one.
        """
        upcoming = list(islice(self.values, 1))
        self.values = chain(upcoming, self.values)
        return any(value != rate for value in upcoming)


class LearnRateWatch:
    """Warn if a learn rate stays zero, or stays the same although it has a schedule.

    rate (float | None): the learn rate of the last update.
    """

    def __init__(self) -> None:
        self.rate: float | None = None
        self._optimizer: Optimizer | None = None
        self._n_steps = 0
        self._n_updates = 0

    def record(self, optimizer: Any, rate: float) -> None:
        """Record an update, and warn if its schedule was not stepped.

        optimizer (Optimizer): thinc's optimizer, or the replacement that `nlp.rehearse` passes,
            which has no schedules.
        rate (float): the learn rate.
        """
        self.rate = rate
        if not isinstance(optimizer, Optimizer):
            return
        schedules: dict[str, Any] = optimizer.schedules
        schedule = schedules.get("learn_rate")
        if schedule is not None and not isinstance(schedule, _CountedSchedule):
            schedule = schedules["learn_rate"] = _CountedSchedule(iter(schedule))
        if schedule is None or schedule.has_warned:
            return
        if optimizer is not self._optimizer or schedule.n_steps != self._n_steps:
            self._optimizer, self._n_steps, self._n_updates = optimizer, schedule.n_steps, 0
        self._n_updates += 1
        # At a rate of zero, warn at the second update without a step. Otherwise allow for loops
        # that accumulate gradients over several updates.
        patience = 2 if rate == 0.0 else 20
        if self._n_updates >= patience and schedule.would_change(rate):
            schedule.has_warned = True
            warnings.warn(
                f"The learn rate has been {rate:g} for {self._n_updates} updates"
                f"{', which had no effect' if rate == 0.0 else ''}. It comes from the schedule "
                "[training.optimizer.learn_rate] of the config and does not change until "
                "optimizer.step_schedules() is called. `spacy train` calls it after each update. "
                "Do the same, or use a fixed rate: "
                "nlp.resume_training(sgd=thinc.api.Adam(0.001))",
                UserWarning,
                stacklevel=2,
            )
