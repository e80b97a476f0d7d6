"""Subjects for in-context regression: regression transformers, and any differentiable predictor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..data.errors import UsageError
from .in_memory_sources import NO_WEIGHTS, example_of, module_source, predictor_source
from .own.attention_only import AttentionOnlyConfig, AttentionOnlyTransformer
from .own.regression_config import RegressionConfig
from .own.regression_transformer import RegressionTransformer, with_label_last
from .subject import NotApplicable, Regressor, Source
from .taps import Taps
from .token_layout import TokenLayout, joint_layouts, layouts_apart
from .weights import AttentionWeights


class TransformerRegressor(Regressor):
    """An in-context regression transformer with readable weights."""

    def __init__(self, module: RegressionTransformer, source: Source) -> None:
        self.module = module
        self.source = source
        self.d_in = module.config.d_in
        self.d_out = module.config.d_out
        self.layout = TokenLayout(self.d_in, self.d_out)

    @property
    def config(self) -> RegressionConfig:
        return self.module.config

    @property
    def dtype(self) -> torch.dtype:
        return self.module.W_Q.dtype

    @property
    def device(self) -> torch.device:
        return self.module.W_Q.device

    def weights(self) -> AttentionWeights:
        return self.module.weights()

    def predict(self, inputs: Float[Tensor, "task token feature"]) -> Float[Tensor, "task d_out"]:
        return self.module(inputs)

    def layouts(self) -> tuple[TokenLayout, ...]:
        """Joint ones: without positions, nothing in this model could tell which y belongs to which x. A model that
        arranges its tokens itself is asked in one layout only.
        """
        joint = joint_layouts(self.d_in, self.d_out)
        return joint if self.config.as_given else joint[:1]

    def read_as(self, layout: TokenLayout) -> TransformerRegressor:
        """The same function of tokens whose label stands elsewhere: the residual stream's coordinates in another order.

        The weights are then those of a model with the label last, and can be compared with constructed ones.
        """
        if layout.order not in (None, "joint"):
            own = self.config.token_order
            why = "has no positions to pair x with y" if own == "joint" else f"makes {own} ones of them by itself"
            raise ValueError(f"{layout.order} tokens; expected joint ones: this model {why}")
        read = TransformerRegressor(with_label_last(self.module, layout.slot), self.source)
        read.layout = layout
        return read


class PredictorRegressor(Regressor):
    """Any differentiable function from tasks to predictions. Its weights are not readable."""

    def __init__(self, function: Callable[[Tensor], Tensor], layout: TokenLayout, source: Source) -> None:
        self.function = function
        self.layout = layout
        self.source = source
        self.d_in = layout.d_in
        self.d_out = layout.d_out

    @property
    def dtype(self) -> torch.dtype:
        return example_of(self.function).dtype

    @property
    def device(self) -> torch.device:
        return example_of(self.function).device

    def weights(self) -> AttentionWeights | NotApplicable:
        return NO_WEIGHTS

    def layouts(self) -> tuple[TokenLayout, ...]:
        return joint_layouts(self.d_in, self.d_out) + layouts_apart(self.d_in, self.d_out)

    def read_as(self, layout: TokenLayout) -> PredictorRegressor:
        return PredictorRegressor(self.function, layout, self.source)

    def predict(self, inputs: Float[Tensor, "task token feature"]) -> Float[Tensor, "task d_out"]:
        prediction = self.function(self.layout.arrange(inputs))
        if not isinstance(prediction, Tensor):
            raise UsageError(
                f"the predictor returned a {type(prediction).__name__}; expected a torch.Tensor with one prediction for"
                " each task"
            )
        if self.d_out == 1 and prediction.shape == (len(inputs),):
            prediction = prediction[:, None]
        if prediction.shape != (len(inputs), self.d_out):
            flat = f"[{len(inputs)}] or " if self.d_out == 1 else ""
            raise UsageError(
                f"the predictor returned shape {list(prediction.shape)} for {len(inputs)} tasks; expected"
                f" {flat}[{len(inputs)}, {self.d_out}]"
            )
        return prediction


class SequencePredictor(nn.Module):
    """A transformer with a read-in, softmax attention, and a read-out at the last token (Garg et al. 2022, arXiv
    2208.01066).

    Its tokens are vectors: W_E [width of a token, d_model] is the read-in, W_U and b_U the read-out. A bias of the
    read-in is part of W_pos.
    """

    def __init__(self, transformer: AttentionOnlyTransformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, tokens: Float[Tensor, "task position width"]) -> Float[Tensor, "task d_out"]:
        states = self.transformer.states_of(tokens @ self.transformer.W_E, Taps(None, None))
        return self.transformer.unembed(states[:, -1])


class SequenceRegressor(PredictorRegressor):
    """A `SequencePredictor` as a subject. Its attention weights act on a residual stream that is wider than a token."""

    module: SequencePredictor

    def __init__(self, module: SequencePredictor, layout: TokenLayout, source: Source) -> None:
        super().__init__(module, layout, source)
        self.module = module

    @property
    def config(self) -> AttentionOnlyConfig:
        return self.module.transformer.config

    def weights(self) -> AttentionWeights:
        return self.module.transformer.weights()

    def layouts(self) -> tuple[TokenLayout, ...]:
        """Those whose tokens are as wide as the read-in."""
        return tuple(layout for layout in super().layouts() if layout.width == self.config.d_vocab)

    def read_as(self, layout: TokenLayout) -> SequenceRegressor:
        return SequenceRegressor(self.module, layout, self.source)

    def predict(self, inputs: Float[Tensor, "task token feature"]) -> Float[Tensor, "task d_out"]:
        positions, longest = self.layout.arrange(inputs[:1]).shape[1], self.config.n_ctx
        if positions > longest:
            raise UsageError(
                f"tasks take {positions} tokens; {self.source.name} reads at most {longest}; give fewer examples a task"
            )
        return super().predict(inputs)


def from_predictor(
    function: Callable[[Tensor], Tensor], layout: TokenLayout, name: str = "predictor"
) -> PredictorRegressor:
    """Wrap a differentiable `[task, token, feature] -> prediction` as a subject.

    Measures of predictions apply; measures of weights are "not applicable". An `nn.Module` is identified by the SHA-256
    of its state dict. A plain function has no such digest, and its report says so.
    """
    facts = {"d_in": layout.d_in, "d_out": layout.d_out, "order": layout.order, "label_slot": layout.label_slot}
    return PredictorRegressor(function, layout, predictor_source(name, function, facts))


def from_transformer(module: RegressionTransformer, name: str = "in-memory") -> TransformerRegressor:
    """A transformer built in this process as a subject."""
    return TransformerRegressor(module, module_source(name, module, module.config.as_dict()))
