"""Optimizers: SGD with momentum, which thinc has not; and a thinc optimizer's step, by torch.

`spacy train` calls `optimizer.step_schedules()` after each update; a loop of `nlp.update` has to do
the same. `LearnRateWatch` warns where it does not.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import torch
from thinc.api import Optimizer, registry
from thinc.optimizers import FloatOrSeq


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

    Our networks have the momentum. Layers of thinc itself, such as an upstream `tok2vec`, are
    stepped without it, as by thinc's `SGD.v1`.

    learn_rate (float | list[float] | Generator): the step's size, or its schedule.
    momentum (float): how much of the last step's v remains.
    L2 (float | list[float] | Generator): weight decay.
    L2_is_weight_decay (bool): shrink the parameters by learn_rate · L2, apart from v; else add
        L2 · parameter to the gradient.
    grad_clip (float | list[float] | Generator): highest norm of the gradient; 0 for none.
    use_averages (bool): average the parameters, and evaluate and store the averages.
    RETURNS (Optimizer): for `[training.optimizer]`.
    RAISES (ValueError): if the momentum is not at least 0 and below 1.
    """
    if not 0.0 <= momentum < 1.0:
        raise ValueError(f"momentum has to be at least 0 and below 1; got {momentum}")
    # With a second beta of 0, both thinc and our shim take plain steps.
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
    """The settings of one optimizer step, read off whatever `[training.optimizer]` built.

    kind (str): "adam", "radam" or "sgd", with a "w" where weight decay is apart from the gradient.
    learn_rate (float): the step's size.
    betas (tuple[float, float]): decay of the moments; the first is SGD's momentum.
    eps (float): what keeps Adam from dividing by zero.
    weight_decay (float): share of itself that a parameter loses, times the learn rate.
    grad_clip (float): highest norm of the gradient; 0 for none.
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

        optimizer (Optimizer): thinc's, or the stand-in that `nlp.rehearse` passes.
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
        """Build torch's optimizer of this kind.

        groups (list[Dict]): its parameter groups, with a `rate_scale` each.
        RETURNS (Optimizer): without moments yet.
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
        """Hand the settings to torch's optimizer, before it steps.

        optimizer (Optimizer): what `build` returned.
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
                    # torch's SGD only adds to the gradient, and that would enter the momentum
                    # (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 1).
                    group["weight_decay"] = 0.0
                    shrink = 1.0 - group["lr"] * self.weight_decay
                    with torch.no_grad():
                        for parameter in group["params"]:
                            if parameter.grad is not None:
                                parameter.mul_(shrink)


class _CountedSchedule:
    """A schedule that counts how often it was stepped."""

    def __init__(self, values: Iterator[float]) -> None:
        self.values = values
        self.n_steps = 0
        self.has_warned = False

    def __iter__(self) -> "_CountedSchedule":
        return self

    def __next__(self) -> float:
        self.n_steps += 1
        return next(self.values)

    def goes_on_from(self, rate: float) -> bool:
        """Look one value ahead.

        rate (float): the current value.
        RETURNS (bool): whether there is a next value, and it is another one.
        """
        upcoming = list(islice(self.values, 1))
        self.values = chain(upcoming, self.values)
        return any(value != rate for value in upcoming)


class LearnRateWatch:
    """Warns where a network is updated at a learn rate of zero, or at one that should change.

    rate (float | None): the learn rate of the last update.
    """

    def __init__(self) -> None:
        self.rate: float | None = None
        self._optimizer: Optimizer | None = None
        self._n_steps = 0
        self._n_updates = 0

    def see(self, optimizer: Any, rate: float) -> None:
        """Take note of an update.

        optimizer (Optimizer): thinc's, or the stand-in that `nlp.rehearse` passes, which has no
            schedules to step.
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
        # One update more than there is between two steps of any loop that steps at all, or so many
        # that no loop sums gradients up over them.
        patience = 2 if rate == 0.0 else 20
        if self._n_updates >= patience and schedule.goes_on_from(rate):
            schedule.has_warned = True
            warnings.warn(
                f"The learn rate has been {rate:g} for {self._n_updates} updates"
                f"{', which changed nothing' if rate == 0.0 else ''}. It comes from a schedule, "
                "[training.optimizer.learn_rate] of the config, and stays where it is until "
                "optimizer.step_schedules() is called, as `spacy train` does after each update. "
                "Do the same, or choose a fixed rate: "
                "nlp.resume_training(sgd=thinc.api.Adam(0.001))",
                UserWarning,
                stacklevel=2,
            )
