"""Optimizers: SGD with momentum, which thinc has not; and a thinc optimizer's step, by torch."""

from dataclasses import dataclass
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

    learn_rate (Union[float, List[float], Generator]): the step's size, or its schedule.
    momentum (float): how much of the last step's v remains.
    L2 (Union[float, List[float], Generator]): weight decay.
    L2_is_weight_decay (bool): shrink the parameters by learn_rate · L2, apart from v; else add
        L2 · parameter to the gradient.
    grad_clip (Union[float, List[float], Generator]): highest norm of the gradient; 0 for none.
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
    betas (Tuple[float, float]): decay of the moments; the first is SGD's momentum.
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

        groups (List[Dict]): its parameter groups, with a `rate_scale` each.
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
