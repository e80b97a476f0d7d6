"""Subjects: trained transformers under examination, where their weights came from, and those whose weights we wrote."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attention_only import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer
    from .bridge import from_bridge
    from .catalogue import shipped
    from .checkpoint import save_checkpoint
    from .constructed import gd_transformer, gdpp_products, gdpp_transformer, with_start_weights
    from .constructed_induction import PlantedHead, induction_circuit, near_misses, planted_model
    from .constructed_norms import planted_norms
    from .hugging_face import HuggingFaceModel
    from .in_memory import from_module
    from .language_model import LanguageModel, LanguageModelShape
    from .norms import Norm
    from .opening import load, load_all
    from .regression_transformer import RegressionConfig, RegressionTransformer, initialise
    from .regressors import TokenLayout, from_predictor, from_transformer
    from .rotary import Rotary
    from .subject import AttentionScores, NotApplicable, Regressor, Source, Subject, Trace
    from .weights import AttentionWeights, Factors

_HOMES = {
    "AttentionOnlyConfig": "attention_only",
    "AttentionOnlyModel": "attention_only",
    "AttentionOnlyTransformer": "attention_only",
    "AttentionScores": "subject",
    "AttentionWeights": "weights",
    "Factors": "weights",
    "HuggingFaceModel": "hugging_face",
    "LanguageModel": "language_model",
    "LanguageModelShape": "language_model",
    "Norm": "norms",
    "NotApplicable": "subject",
    "PlantedHead": "constructed_induction",
    "RegressionConfig": "regression_transformer",
    "RegressionTransformer": "regression_transformer",
    "Regressor": "subject",
    "Rotary": "rotary",
    "Source": "subject",
    "Subject": "subject",
    "TokenLayout": "regressors",
    "Trace": "subject",
    "from_bridge": "bridge",
    "from_module": "in_memory",
    "from_predictor": "regressors",
    "from_transformer": "regressors",
    "gd_transformer": "constructed",
    "gdpp_products": "constructed",
    "gdpp_transformer": "constructed",
    "induction_circuit": "constructed_induction",
    "initialise": "regression_transformer",
    "load": "opening",
    "load_all": "opening",
    "near_misses": "constructed_induction",
    "planted_model": "constructed_induction",
    "planted_norms": "constructed_norms",
    "save_checkpoint": "checkpoint",
    "shipped": "catalogue",
    "with_start_weights": "constructed",
}
__all__ = [
    "AttentionOnlyConfig",
    "AttentionOnlyModel",
    "AttentionOnlyTransformer",
    "AttentionScores",
    "AttentionWeights",
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
    "Source",
    "Subject",
    "TokenLayout",
    "Trace",
    "from_bridge",
    "from_module",
    "from_predictor",
    "from_transformer",
    "gd_transformer",
    "gdpp_products",
    "gdpp_transformer",
    "induction_circuit",
    "initialise",
    "load",
    "load_all",
    "near_misses",
    "planted_model",
    "planted_norms",
    "save_checkpoint",
    "shipped",
    "with_start_weights",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the package does not import torch (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
