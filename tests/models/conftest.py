"""Small random transformers, and the loops that say what they must answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import (
    AttentionOnlyConfig,
    AttentionOnlyModel,
    AttentionOnlyTransformer,
    RegressionConfig,
    RegressionTransformer,
    Source,
)
from torch import Tensor


@pytest.fixture(scope="session")
def random_parameters() -> Callable[..., dict[str, Tensor]]:
    """float64 weights for a configuration, of a size at which every part of the computation matters."""

    def make(config: RegressionConfig, seed: int = 0) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(seed)
        parameters = {
            name: torch.randn(shape, generator=rng, dtype=torch.float64) * 0.4 for name, shape in config.shapes.items()
        }
        for name in {"ln_scale", "mlp_ln_scale"} & set(parameters):
            parameters[name] += 1
        return parameters

    return make


@pytest.fixture(scope="session")
def random_model(random_parameters: Callable[..., dict[str, Tensor]]) -> Callable[..., RegressionTransformer]:
    def make(seed: int = 0, **settings: Any) -> RegressionTransformer:
        config = RegressionConfig(**({"d_in": 3, "d_head": 4} | settings))
        return RegressionTransformer(config, random_parameters(config, seed))

    return make


@pytest.fixture(scope="session")
def random_language_model() -> Callable[..., AttentionOnlyModel]:
    """A small model in float64, of a size at which every part of the computation matters."""

    def make(seed: int = 0, **settings: Any) -> AttentionOnlyModel:
        sizes = {"d_vocab": 11, "n_ctx": 7, "d_model": 6, "n_layers": 2, "n_heads": 3, "d_head": 4}
        config = AttentionOnlyConfig(**{**sizes, **settings})
        rng = torch.Generator().manual_seed(seed)
        parameters = {
            name: 0.4 * torch.randn(shape, generator=rng, dtype=torch.float64) + name.endswith("scale")
            for name, shape in config.shapes.items()
        }
        return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))

    return make


@pytest.fixture(scope="session")
def random_inputs() -> Callable[..., Tensor]:
    """Tokens [x ; y] without any structure, the query's y slot included."""

    def make(width: int, n_tasks: int = 3, tokens: int = 5, seed: int = 1) -> Tensor:
        return torch.randn(n_tasks, tokens, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    return make


def authors_layers(model: RegressionTransformer) -> list[dict[str, np.ndarray]]:
    """Every application's weights in the authors' shapes: heads side by side, in linear below one another."""
    config = model.config
    arrays = {name: parameter.detach().cpu().numpy() for name, parameter in model.named_parameters()}
    layers = []
    for application in range(config.n_layers):
        block = 0 if config.tied else application
        layer = {
            name: np.concatenate(list(arrays[role][block]), axis=1)
            for name, role in {"query": "W_Q", "key": "W_K", "value": "W_V"}.items()
        }
        layer["linear"] = np.concatenate(list(arrays["W_O"][block]), axis=0)
        norm = 0 if config.tied else application - 1
        if config.layer_norm and norm >= 0:
            layer |= {"scale": arrays["ln_scale"][norm], "offset": arrays["ln_offset"][norm]}
        if config.mlp is not None:
            mlp = application if config.mlp == "own" else 0
            layer |= {"first": arrays["W_in"][mlp], "second": arrays["W_out"][mlp]}
            if config.layer_norm:
                layer |= {"mlp_scale": arrays["mlp_ln_scale"][mlp], "mlp_offset": arrays["mlp_ln_offset"][mlp]}
        layers.append(layer)
    return layers


@pytest.fixture(scope="session")
def by_loops(reference_transformer: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """What the slow implementation answers for a model of ours: predictions `[layer, task, d_out]`."""

    def predict(model: RegressionTransformer, inputs: Tensor, **changed: Any) -> np.ndarray:
        facts: Mapping[str, Any] = {
            name: getattr(model.config, name)
            for name in (
                "n_heads",
                "d_out",
                "softmax",
                "dampening",
                "activation_clip",
                "target_only",
                "query_in_context",
                "causal",
                "linear_from",
                "d_position",
                "one_hot_positions",
                "token_order",
            )
        }
        if model.config.d_embed is not None:
            names = {"emb": "W_E", "first": "embed_W_in", "first_b": "embed_b_in", "second": "embed_W_out",
                     "second_b": "embed_b_out"}  # fmt: skip
            facts = {**facts, "embedding": {name: getattr(model, ours).numpy() for name, ours in names.items()}}
        return reference_transformer(inputs.numpy(), authors_layers(model), **{**facts, **changed})

    return predict


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Any]:
    """Random models of the families of Hugging Face that are promised, small and in eager attention, by name."""
    return tiny_model


@pytest.fixture(scope="session")
def subject_of() -> Iterator[Callable[[str], Any]]:
    """One subject of each family, by name, shared by the tests that do not change it; checked at the end."""
    from mesascope.models.hugging_face.subject import identifying
    from mesascope.models.opening.in_memory import from_module
    from mesascope.models.weights import weights_sha256

    made: dict[str, Any] = {}

    def make(family: str) -> Any:
        if family not in made:
            made[family] = from_module(tiny_model(family))
        return made[family]

    yield make
    for family, subject in made.items():
        state = identifying(subject.module, subject.module.state_dict())
        assert weights_sha256(state) == subject.source.weights_sha256, family
        for module in subject.module.modules():
            assert not module._forward_hooks, family
            assert not module._forward_pre_hooks, family


SHARED: dict[str, Any] = {"vocab_size": 53, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
SHARED |= {"max_position_embeddings": 64, "intermediate_size": 48, "initializer_range": 0.3}
SHARED |= {"attn_implementation": "eager"}
GROUPED = {**SHARED, "num_key_value_heads": 2}
CAPPED = {"sliding_window": 5, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
ALTERNATE = ["sliding_attention", "full_attention", "sliding_attention"]
MULTIPLIED = {"embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
LOCAL = [[["global", "local", "global"], 1]]
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8}
LATENT |= {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "head_dim": 4,
    "num_key_value_heads": 4,
}
LATENT |= {"first_k_dense_replace": 1, "moe_intermediate_size": 16}
DECODER = {"d_model": 32, "decoder_layers": 3, "decoder_attention_heads": 4, "decoder_ffn_dim": 48}
SPECIAL = {f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "cls", "sep")}
TINY: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("GPT2", "LMHeadModel", {"n_positions": 64, **SHARED}),
    "gpt_neox": ("GPTNeoX", "ForCausalLM", SHARED),
    "gpt_neox serial": ("GPTNeoX", "ForCausalLM", {**SHARED, "use_parallel_residual": False}),
    "llama": ("Llama", "ForCausalLM", GROUPED),
    "qwen3": ("Qwen3", "ForCausalLM", {**GROUPED, "head_dim": 16}),
    "gemma2": ("Gemma2", "ForCausalLM", {**GROUPED, **CAPPED, "head_dim": 16}),
    "bert": ("Bert", "ForMaskedLM", SHARED),
    "mistral": ("Mistral", "ForCausalLM", {**GROUPED, "sliding_window": 5}),
    "cohere": ("Cohere", "ForCausalLM", GROUPED),
    "gpt_oss": ("GptOss", "ForCausalLM", {**GROUPED, **EXPERTS, "head_dim": 8, "sliding_window": 5}),
    "smollm3": ("SmolLM3", "ForCausalLM", {**GROUPED, "no_rope_layers": [1, 0, 1], "pad_token_id": None}),
    "ernie4_5": ("Ernie4_5", "ForCausalLM", {**GROUPED, "head_dim": 8}),
    "glm": ("Glm", "ForCausalLM", {**GROUPED, "head_dim": 8, "pad_token_id": None}),
    "gemma3": ("Gemma3", "ForCausalLM", {**GROUPED, "head_dim": 8, "sliding_window": 5, "layer_types": ALTERNATE}),
    "llama yarn": ("Llama", "ForCausalLM", {**GROUPED, "rope_parameters": YARN}),
    "opt": ("OPT", "ForCausalLM", {**SHARED, "ffn_dim": 48, "word_embed_proj_dim": 32, "pad_token_id": 1}),
    "olmo2": ("Olmo2", "ForCausalLM", GROUPED),
    "glm4": ("Glm4", "ForCausalLM", {**GROUPED, "head_dim": 8, "pad_token_id": None}),
    "phi": ("Phi", "ForCausalLM", GROUPED),
    "bitnet": ("BitNet", "ForCausalLM", GROUPED),
    "granite": ("Granite", "ForCausalLM", {**GROUPED, **MULTIPLIED}),
    "mixtral": ("Mixtral", "ForCausalLM", {**GROUPED, **EXPERTS}),
    "roberta": ("Roberta", "ForMaskedLM", {**SHARED, "pad_token_id": 1}),
    "bloom": ("Bloom", "ForCausalLM", {**SHARED, "n_layer": 3, "n_head": 4}),
    "mpt": ("Mpt", "ForCausalLM", {**SHARED, "d_model": 32, "n_layers": 3, "n_heads": 4, "max_seq_len": 64}),
    "falcon": ("Falcon", "ForCausalLM", {**SHARED, "num_kv_heads": 2, "new_decoder_architecture": True}),
    "gpt_neo": ("GPTNeo", "ForCausalLM", {**SHARED, "num_layers": 3, "attention_types": LOCAL, "window_size": 5}),
    "gptj": ("GPTJ", "ForCausalLM", {**SHARED, "n_layer": 3, "n_head": 4, "n_embd": 32, "rotary_dim": 4}),
    "codegen": ("CodeGen", "ForCausalLM", {**SHARED, "n_layer": 3, "n_head": 4, "n_embd": 32, "rotary_dim": 4}),
    "gpt_bigcode": ("GPTBigCode", "ForCausalLM", SHARED),
    "openai-gpt": ("OpenAIGPT", "LMHeadModel", SHARED),
    "phi3": ("Phi3", "ForCausalLM", {**GROUPED, "pad_token_id": None}),
    "olmo": ("Olmo", "ForCausalLM", {**GROUPED, "pad_token_id": 1, "eos_token_id": 2}),
    "deepseek_v3": ("DeepseekV3", "ForCausalLM", {**LATENT, **SHARED}),
    "llama4": ("Llama4", "ForCausalLM", {**GROUPED, **EXPERTS, "head_dim": 8, "pad_token_id": None}),
    "bart": ("Bart", "ForCausalLM", {**SHARED, **DECODER, "pad_token_id": 1, "eos_token_id": 2}),
    "distilbert": (
        "DistilBert",
        "ForMaskedLM",
        {**SHARED, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48},
    ),
    "albert": ("Albert", "ForMaskedLM", {**SHARED, "embedding_size": 16}),
    "electra": ("Electra", "ForMaskedLM", {**SHARED, "embedding_size": 16}),
    "modernbert": ("ModernBert", "ForMaskedLM", {**SHARED, **SPECIAL, "local_attention": 8}),
    "hunyuan": ("HunYuanDenseV1", "ForCausalLM", {**GROUPED, "head_dim": 8}),
}
"""Class, head and configuration of each family."""


def tiny_model(family: str, **changed: Any) -> Any:
    import transformers

    kind, head, values = TINY[family]
    with torch.random.fork_rng():
        torch.manual_seed(20230531)
        of_kind = getattr(transformers, kind + head)
        module = of_kind(of_kind.config_class(**{**values, **changed})).eval()
        with torch.no_grad():
            for parameter in module.parameters():  # biases and norms start at 0 and 1, where mistakes do not show
                parameter.add_(0.1 * torch.randn_like(parameter))
    return module
