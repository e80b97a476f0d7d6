"""Subjects: trained transformers to examine, the files they come from, and constructed models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .constructed.copying import plant_anti_attention, plant_copying
    from .constructed.gradient_descent import gd_transformer, gdpp_products, gdpp_transformer, with_start_weights
    from .constructed.induction import PlantedHead, induction_circuit, near_misses, planted_model
    from .constructed.norms import planted_norms
    from .constructed.softmax_regression import softmax_gradient_layer
    from .copy_models import CopyModel, from_copy_transformer
    from .hugging_face.subject import HuggingFaceModel
    from .language_model import LanguageModel, LanguageModelShape
    from .norms import Norm
    from .opening.as_subject import as_subject
    from .opening.bridge import from_bridge
    from .opening.catalogue import shipped
    from .opening.checkpoint import save_checkpoint
    from .opening.converting import convert
    from .opening.in_memory import from_module
    from .opening.loading import load, load_all
    from .own.attention_only import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer
    from .own.copy_transformer import CopyConfig, CopyTransformer
    from .own.regression_config import RegressionConfig
    from .own.regression_transformer import RegressionTransformer, initialise
    from .own.softmax_layer import SoftmaxLayer, SoftmaxLayerConfig
    from .predictor_file import from_predictor_file
    from .regressors import from_predictor, from_transformer
    from .rotary import Rotary
    from .softmax_regressors import SoftmaxRegressor, from_softmax_layer, from_softmax_predictor
    from .subject import AttentionScores, NotApplicable, Regressor, Source, Subject, Trace
    from .token_layout import TokenLayout
    from .weights import AttentionWeights, Factors
    from .wrapped_language_model import from_language_model

_HOMES = {
    "AttentionOnlyConfig": "own.attention_only",
    "AttentionOnlyModel": "own.attention_only",
    "AttentionOnlyTransformer": "own.attention_only",
    "AttentionScores": "subject",
    "AttentionWeights": "weights",
    "CopyConfig": "own.copy_transformer",
    "CopyModel": "copy_models",
    "CopyTransformer": "own.copy_transformer",
    "Factors": "weights",
    "HuggingFaceModel": "hugging_face.subject",
    "LanguageModel": "language_model",
    "LanguageModelShape": "language_model",
    "Norm": "norms",
    "NotApplicable": "subject",
    "PlantedHead": "constructed.induction",
    "RegressionConfig": "own.regression_config",
    "RegressionTransformer": "own.regression_transformer",
    "Regressor": "subject",
    "Rotary": "rotary",
    "SoftmaxLayer": "own.softmax_layer",
    "SoftmaxLayerConfig": "own.softmax_layer",
    "SoftmaxRegressor": "softmax_regressors",
    "Source": "subject",
    "Subject": "subject",
    "TokenLayout": "token_layout",
    "Trace": "subject",
    "as_subject": "opening.as_subject",
    "convert": "opening.converting",
    "from_bridge": "opening.bridge",
    "from_copy_transformer": "copy_models",
    "from_language_model": "wrapped_language_model",
    "from_module": "opening.in_memory",
    "from_predictor": "regressors",
    "from_predictor_file": "predictor_file",
    "from_softmax_layer": "softmax_regressors",
    "from_softmax_predictor": "softmax_regressors",
    "from_transformer": "regressors",
    "gd_transformer": "constructed.gradient_descent",
    "gdpp_products": "constructed.gradient_descent",
    "gdpp_transformer": "constructed.gradient_descent",
    "induction_circuit": "constructed.induction",
    "initialise": "own.regression_transformer",
    "load": "opening.loading",
    "load_all": "opening.loading",
    "near_misses": "constructed.induction",
    "plant_anti_attention": "constructed.copying",
    "plant_copying": "constructed.copying",
    "planted_model": "constructed.induction",
    "planted_norms": "constructed.norms",
    "save_checkpoint": "opening.checkpoint",
    "shipped": "opening.catalogue",
    "softmax_gradient_layer": "constructed.softmax_regression",
    "with_start_weights": "constructed.gradient_descent",
}
__all__ = [
    "AttentionOnlyConfig",
    "AttentionOnlyModel",
    "AttentionOnlyTransformer",
    "AttentionScores",
    "AttentionWeights",
    "CopyConfig",
    "CopyModel",
    "CopyTransformer",
    "Factors",
    "HuggingFaceModel",
    "LanguageModel",
    "LanguageModelShape",
    "Norm",
    "NotApplicable",
    "PlantedHead",
    "RegressionConfig",
    "RegressionTransformer",
    "Regressor",
    "Rotary",
    "SoftmaxLayer",
    "SoftmaxLayerConfig",
    "SoftmaxRegressor",
    "Source",
    "Subject",
    "TokenLayout",
    "Trace",
    "as_subject",
    "convert",
    "from_bridge",
    "from_copy_transformer",
    "from_language_model",
    "from_module",
    "from_predictor",
    "from_predictor_file",
    "from_softmax_layer",
    "from_softmax_predictor",
    "from_transformer",
    "gd_transformer",
    "gdpp_products",
    "gdpp_transformer",
    "induction_circuit",
    "initialise",
    "load",
    "load_all",
    "near_misses",
    "plant_anti_attention",
    "plant_copying",
    "planted_model",
    "planted_norms",
    "save_checkpoint",
    "shipped",
    "softmax_gradient_layer",
    "with_start_weights",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the package does not import torch (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
