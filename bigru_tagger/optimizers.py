"""The registered optimizer: stochastic gradient descent with momentum, which thinc has not."""

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
