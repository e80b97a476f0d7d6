"""The GPT-2 regressors of Garg et al. 2022 (arXiv 2208.01066) by a declared layout, beside transformers' own GPT-2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import CheckpointRefused, UsageError
from mesascope.models import NotApplicable, TokenLayout, from_predictor, load
from mesascope.models.regressors import SequenceRegressor
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

D_IN = 3
TASKS = torch.randn(6, 5, D_IN + 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TASKS[:, -1, -1] = 0  # the query's label is not known


def of_tasks(predictions: np.ndarray) -> dict[str, np.ndarray]:
    return {"inputs": TASKS.numpy(), "predictions": predictions}


class TheirModel(nn.Module):
    """Named as theirs: a read-in, GPT-2 on embeddings, a read-out; x and y in tokens of their own, in turn."""

    def __init__(self, width: int = D_IN) -> None:
        super().__init__()
        sizes = {"n_positions": 12, "n_embd": 8, "n_layer": 2, "n_head": 2}
        self._read_in = nn.Linear(width, 8)
        self._backbone = GPT2Model(GPT2Config(**sizes, initializer_range=0.4, attn_implementation="eager"))
        self._read_out = nn.Linear(8, 1)

    @torch.no_grad()
    def forward(self, tasks: Tensor) -> Tensor:
        tokens = torch.zeros(len(tasks), 2 * tasks.shape[1], D_IN, dtype=tasks.dtype)
        tokens[:, 0::2] = tasks[..., :D_IN]
        tokens[:, 1::2, 0] = tasks[..., D_IN]
        return self.of_tokens(tokens)[:, ::2][:, -1]

    def of_tokens(self, tokens: Tensor) -> Tensor:
        return self._read_out(self._backbone(inputs_embeds=self._read_in(tokens)).last_hidden_state)[..., 0]


GARG = """
[model]
task = "regression"
order = "interleaved"
n_heads = 2
activation = "gelu_tanh"
[tensors]
W_E = { name = "_read_in.weight", axes = "d_model d_vocab" }
b_E = "_read_in.bias"
W_pos = "_backbone.wpe.weight"
W_QKV = { name = "_backbone.h.{layer}.attn.c_attn.weight", axes = "d_model (qkv head d_head)" }
b_QKV = { name = "_backbone.h.{layer}.attn.c_attn.bias", axes = "(qkv head d_head)" }
W_O = { name = "_backbone.h.{layer}.attn.c_proj.weight", axes = "(head d_head) d_model" }
b_O = "_backbone.h.{layer}.attn.c_proj.bias"
W_in = "_backbone.h.{layer}.mlp.c_fc.weight"
b_in = "_backbone.h.{layer}.mlp.c_fc.bias"
W_out = "_backbone.h.{layer}.mlp.c_proj.weight"
b_out = "_backbone.h.{layer}.mlp.c_proj.bias"
ln1_scale = "_backbone.h.{layer}.ln_1.weight"
ln1_offset = "_backbone.h.{layer}.ln_1.bias"
ln2_scale = "_backbone.h.{layer}.ln_2.weight"
ln2_offset = "_backbone.h.{layer}.ln_2.bias"
ln_final_scale = "_backbone.ln_f.weight"
ln_final_offset = "_backbone.ln_f.bias"
W_U = { name = "_read_out.weight", axes = "d_vocab d_model" }
b_U = "_read_out.bias"
[file]
ignore = ["_backbone.wte.weight", "*.attn.bias", "*.attn.masked_bias"]
"""


def drawn(width: int) -> TheirModel:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = TheirModel(width).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def theirs() -> TheirModel:
    return drawn(D_IN)


def training_state(model: TheirModel, folder: Path) -> None:
    """As their training writes it, beside an optimiser and a step."""
    optimiser = torch.optim.Adam(model.parameters())
    masks = {f"_backbone.h.{n}.attn.bias": torch.ones(1, 1, 12, 12, dtype=torch.uint8) for n in range(2)}
    state = {**model.state_dict(), **masks}
    torch.save(
        {"model_state_dict": state, "optimizer_state_dict": optimiser.state_dict(), "train_step": 500},
        folder / "state.pt",
    )


def regressor(model: TheirModel, folder: Path, layout: str, samples: dict[str, Any] | None = None) -> SequenceRegressor:
    training_state(model, folder)
    if samples is not None:
        np.savez(folder / "samples.npz", **samples)
        layout += '[check]\nsamples = "samples.npz"\n'
    (folder / "garg.toml").write_text(layout)
    subject = load(folder / "state.pt", layout=str(folder / "garg.toml"))
    assert isinstance(subject, SequenceRegressor)
    return subject


def test_a_state_of_their_training_answers_as_their_model(theirs: TheirModel, tmp_path: Path) -> None:
    expected = theirs(TASKS)
    subject = regressor(theirs, tmp_path, GARG, of_tasks(expected.numpy()))
    torch.testing.assert_close(subject.predict(TASKS)[:, 0], expected, rtol=1e-9, atol=1e-9)
    assert (subject.d_in, subject.d_out, subject.layout.name) == (3, 1, "interleaved-0")
    assert "was checked" in subject.source.notes[-1]
    few = TASKS[:, [0, 1, -1]]
    torch.testing.assert_close(subject.predict(few)[:, 0], theirs(few), rtol=1e-9, atol=1e-9)
    inputs = TASKS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(subject.predict(inputs).sum(), inputs)
    step = torch.zeros_like(TASKS)
    step[2, 1, 3] = 1e-6
    torch.testing.assert_close(slope[2, 1, 3], (theirs(TASKS + step) - theirs(TASKS - step)).sum() / 2e-6)


@pytest.mark.parametrize("order", ["joint", "separate"])
def test_tokens_that_hold_x_and_y_otherwise(tmp_path: Path, order: str) -> None:
    model, tokens = drawn(D_IN + 1), TASKS
    if order == "separate":  # [x ; 0], [0 ; y], ..., [x of the query ; 0]
        x, y = TASKS.clone(), TASKS.clone()
        x[..., D_IN:], y[..., :D_IN] = 0, 0
        tokens = torch.stack([x, y], dim=2).flatten(1, 2)[:, :-1]
    expected = model.of_tokens(tokens)[:, -1].detach()
    layout = GARG.replace("interleaved", order)
    subject = regressor(model, tmp_path, layout, of_tasks(expected.numpy()))
    torch.testing.assert_close(subject.predict(TASKS)[:, 0], expected, rtol=1e-9, atol=1e-9)
    assert (subject.d_in, subject.d_out) == (D_IN, 1)
    other = GARG.replace("interleaved", "separate" if order == "joint" else "joint")
    with pytest.raises(CheckpointRefused, match=rf"they fit with order = '{order}', label_slot = 3, readout = '\+'"):
        regressor(model, tmp_path, other, of_tasks(expected.numpy()))


def test_its_attention_weights_are_those_of_the_backbone(theirs: TheirModel, tmp_path: Path) -> None:
    weights = regressor(theirs, tmp_path, GARG).weights()
    assert not isinstance(weights, NotApplicable)
    attention = theirs._backbone.h[1].attn
    torch.testing.assert_close(weights.W_K[1, 1], attention.c_attn.weight[:, 12:16])
    torch.testing.assert_close(weights.W_O[1, 1], attention.c_proj.weight[4:8])


def test_a_tasks_file_longer_than_its_positions(theirs: TheirModel, tmp_path: Path) -> None:
    subject = regressor(theirs, tmp_path, GARG)
    with pytest.raises(UsageError, match="tasks take 13 tokens; state reads at most 12; give fewer examples"):
        subject.predict(torch.zeros(2, 7, 4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("old", "new", "fits"),
    [
        ("n_heads = 2", 'n_heads = 2\nreadout = "-"', r"order = 'interleaved', label_slot = 0, readout = '\+'"),
        (
            'order = "interleaved"',
            'order = "interleaved"\nlabel_slot = 2',
            "order = 'interleaved', label_slot = 0, rea",
        ),
        ('activation = "gelu_tanh"', 'activation = "relu"', "no other order of the tokens fits, and no other sign"),
        ("(qkv head d_head)", "(qkv d_head head)", "no other order of the tokens fits, and no other sign"),
    ],
)
def test_sign_order_and_axes_are_told_by_samples(
    theirs: TheirModel, tmp_path: Path, old: str, new: str, fits: str
) -> None:
    assert old in GARG
    samples = of_tasks(theirs(TASKS).numpy())
    with pytest.raises(CheckpointRefused, match=rf"misses the predictions of samples.npz by .*{fits}"):
        regressor(theirs, tmp_path, GARG.replace(old, new, 1), samples)


def test_a_readout_of_the_other_sign_is_turned(theirs: TheirModel, tmp_path: Path) -> None:
    minus = GARG.replace("n_heads = 2", 'n_heads = 2\nreadout = "-"')
    subject = regressor(theirs, tmp_path, minus, of_tasks(-theirs(TASKS).numpy()))
    torch.testing.assert_close(subject.predict(TASKS)[:, 0], -theirs(TASKS), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('order = "interleaved"\n', "", "order = None in [model]; expected how the tokens hold x and y"),
        ('order = "interleaved"', 'order = "mixed"', "order = 'mixed' in [model]"),
        ("n_heads = 2", "n_heads = 2\nd_in = 4", "d_in = 4 in [model]; expected 3, as in the weights"),
        ("n_heads = 2", "n_heads = 2\ndampening = 0.5", "dampening is no setting of a regression transformer with W_E"),
        ('W_pos = "_backbone.wpe.weight"', "", "'_backbone.wpe.weight' is neither declared nor ignored"),
    ],
)
def test_a_layout_of_a_sequence_that_does_not_fit(
    theirs: TheirModel, tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GARG
    with pytest.raises(CheckpointRefused, match=r"^state.pt: ") as caught:
        regressor(theirs, tmp_path, GARG.replace(old, new, 1))
    assert message in str(caught.value)


def test_what_is_left_out_of_a_sequence_is_named(theirs: TheirModel, tmp_path: Path) -> None:
    no_positions = GARG.replace('W_pos = "_backbone.wpe.weight"\n', "").replace("wte", "w?e")
    with pytest.raises(CheckpointRefused, match="b_E without W_pos"):
        regressor(theirs, tmp_path, no_positions)
    headless = "\n".join(line for line in GARG.splitlines() if "_read_out" not in line)
    with pytest.raises(CheckpointRefused, match="lacks W_U, so it predicts nothing"):
        regressor(theirs, tmp_path, headless.replace('"_backbone.wte.weight"', '"_backbone.wte.weight", "_read_out.*"'))


def test_weights_that_are_not_finite_are_refused(theirs: TheirModel, tmp_path: Path) -> None:
    training_state(theirs, tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)["model_state_dict"]
    torch.save({**state, "_read_out.bias": torch.tensor([torch.nan]).double()}, tmp_path / "state.pt")
    (tmp_path / "garg.toml").write_text(GARG)
    with pytest.raises(CheckpointRefused, match=r"^state\.pt: 'b_U' holds nan; expected finite weights"):
        load(tmp_path / "state.pt", layout=str(tmp_path / "garg.toml"))


def test_what_the_layout_said_opens_the_same(theirs: TheirModel, tmp_path: Path) -> None:
    subject = regressor(theirs, tmp_path, GARG)
    options = subject.source.options
    again = load(tmp_path / "state.pt", layout=options["declaration"], model_args=options["model_args"])
    assert again.source.weights_sha256 == subject.source.weights_sha256
    assert isinstance(again, SequenceRegressor)
    torch.testing.assert_close(again.predict(TASKS), subject.predict(TASKS))


def test_without_a_layout_it_is_told_which(theirs: TheirModel, tmp_path: Path) -> None:
    training_state(theirs, tmp_path)
    with pytest.raises(
        CheckpointRefused, match=r"FILE\.toml that declares its names, as docs/.*#regression-transformers"
    ):
        load(tmp_path / "state.pt")


def test_their_model_also_opens_as_a_predictor(theirs: TheirModel, tmp_path: Path) -> None:
    """The recipe for what no layout can say, e.g. attention with ReLU in the place of softmax."""

    def predict(tokens: Tensor) -> Tensor:
        return theirs.of_tokens(tokens)[:, -1:]

    wrapped = from_predictor(predict, TokenLayout(3, 1, "interleaved"))
    torch.testing.assert_close(wrapped.predict(TASKS), regressor(theirs, tmp_path, GARG).predict(TASKS))
