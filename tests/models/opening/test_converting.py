"""Arrays out of pickles: what NumPy and JAX write comes back number by number, and nothing that a pickle says runs."""

from __future__ import annotations

import os
import pickle
import struct
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import CheckpointRefused, UsageError
from mesascope.models import convert, load
from mesascope.models.constructed.gradient_descent import gd_transformer
from mesascope.models.regressors import TransformerRegressor
from safetensors.torch import load_file, save_file
from torch import Tensor

RNG = np.random.default_rng(1)
TREE: dict[str, Any] = {
    "linear/~/w": {"w": RNG.standard_normal((2, 3)), "b": RNG.standard_normal(3).astype(np.float32)},
    "columns": np.asfortranarray(RNG.standard_normal((2, 3))),
    "big endian": np.arange(3, dtype=">i4"),
    "list": [np.float16(0.5), (np.array(7), np.zeros((0, 4)))],
    "ordered": OrderedDict(flags=np.array([True, False])),
    0: np.arange(4, dtype=np.uint8)[::2],
}
NAMES = {
    "linear/~/w/w": TREE["linear/~/w"]["w"],
    "linear/~/w/b": TREE["linear/~/w"]["b"],
    "columns": TREE["columns"],
    "big endian": np.arange(3, dtype="i4"),
    "list/0": np.array(0.5, "f2"),
    "list/1/0": np.array(7),
    "list/1/1": np.zeros((0, 4)),
    "ordered/flags": np.array([True, False]),
    "0": np.array([0, 2], "u1"),
}


def converted(folder: Path, content: bytes, **how: Any) -> dict[str, Tensor]:
    (folder / "a.pkl").write_bytes(content)
    return load_file(convert(folder / "a.pkl", folder / "a.safetensors", force=True, **how).path)


def refused(folder: Path, content: bytes) -> str:
    with pytest.raises(CheckpointRefused, match=r"^a\.pkl: ") as caught:
        converted(folder, content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert not (folder / "a.safetensors").exists()
    return str(caught.value)


# ---- what comes back ----


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_come_back_number_by_number(tmp_path: Path, protocol: int) -> None:
    found = converted(tmp_path, pickle.dumps(TREE, protocol))
    assert set(found) == set(NAMES)
    for name, array in NAMES.items():
        assert (found[name].numpy().dtype, tuple(found[name].shape)) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(found[name].numpy(), array)


class Jax:
    """Pickles as a `jax.Array` does: NumPy's own parts, and what JAX adds to them."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __reduce__(self) -> Any:
        fun, args, state = self.array.__reduce__()
        return (_reconstruct_array, (fun, args, state, {"weak_type": False}))


def _reconstruct_array(*parts: Any) -> Any:
    raise AssertionError("nothing is called")


@pytest.mark.parametrize(
    "home", ["jax._src.array _reconstruct_array", "jax._src.device_array reconstruct_device_array"]
)
def test_arrays_of_jax_come_back_without_jax(tmp_path: Path, home: str) -> None:
    module, name = home.split()
    ours = f"c{__name__}\n_reconstruct_array\n".encode()
    content = pickle.dumps({"w": Jax(TREE["columns"])}, 2)
    assert ours in content
    found = converted(tmp_path, content.replace(ours, f"c{module}\n{name}\n".encode()))
    np.testing.assert_array_equal(found["w"].numpy(), TREE["columns"])
    assert "jax" not in sys.modules
    inner = content.replace(ours, f"c{module}\n{name}\n".encode())
    (tmp_path / "a.safetensors").unlink()
    by_another = inner.replace(b"multiarray\n_reconstruct", b"numeric\n_frombuffer")
    assert f"names '{module}.{name}'" in refused(tmp_path, by_another)


class Frozen:
    """Pickles as Flax's `FrozenDict` does: by the dictionary that it holds."""

    def __reduce__(self) -> Any:
        return (_reconstruct_array, ({"w": TREE["columns"]},))


def test_frozen_dictionaries_of_flax_are_dictionaries(tmp_path: Path) -> None:
    ours, flax = f"c{__name__}\n_reconstruct_array\n".encode(), b"cflax.core.frozen_dict\nFrozenDict\n"
    found = converted(tmp_path, pickle.dumps({"params": Frozen()}, 2).replace(ours, flax))
    np.testing.assert_array_equal(found["params/w"].numpy(), TREE["columns"])


def test_bfloat16_comes_back_by_its_bits(tmp_path: Path) -> None:
    values = torch.tensor([1.5, -2.0, 0.0], dtype=torch.bfloat16)
    content = pickle.dumps({"w": values.view(torch.uint16).numpy()}, 2)
    code = b"X\x02\x00\x00\x00u2"
    at = content.index(code)
    end = at + len(code) + len(b"q\x00")
    name = b"cml_dtypes\nbfloat16\n"
    found = converted(tmp_path, content[:at] + name + content[at + len(code) : end] + content[end:])
    assert torch.equal(found["w"], values)


def test_what_is_no_array_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": np.ones(2), "name": "x", "steps": 3, "none": None}))
    found = convert(tmp_path / "a.pkl", tmp_path / "a.safetensors")
    assert (found.tensors, found.left_out) == (1, ("name (str)", "steps = 3", "none = None"))


def test_names_are_joined_as_asked(tmp_path: Path) -> None:
    assert set(converted(tmp_path, pickle.dumps({"a": {"b": np.ones(1)}}), separator=".")) == {"a.b"}
    same = pickle.dumps({"a": {"b": np.ones(1)}, "a/b": np.ones(1)})
    (tmp_path / "a.safetensors").unlink()
    assert "two arrays are named 'a/b'; give another separator" in refused(tmp_path, same)
    assert set(converted(tmp_path, pickle.dumps(np.ones(2)))) == {"array"}


def test_a_npz_becomes_a_safetensors(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=TREE["columns"], b=np.arange(3))
    found = load_file(convert(tmp_path / "a.npz", tmp_path / "b.safetensors").path)
    np.testing.assert_array_equal(found["w"].numpy(), TREE["columns"])
    np.savez(tmp_path / "c.npz", w=np.ones(2, dtype=complex))
    with pytest.raises(CheckpointRefused, match=r"c\.npz: 'w' has dtype complex128; expected numbers"):
        convert(tmp_path / "c.npz", tmp_path / "d.safetensors")


def test_the_authors_pickle_opens_after_it_was_converted(tmp_path: Path) -> None:
    """Parameters of haiku, nested as their code pickles them."""
    model = gd_transformer(n_context=10, learning_rate=6.0, d_in=3)
    roles = {"query": "W_Q", "key": "W_K", "value": "W_V", "linear": "W_O"}
    parameters = {
        f"transformer/multi_head_attention/{name}": {"w": model.get_parameter(role)[0, 0].numpy()}
        for name, role in roles.items()
    }
    (tmp_path / "params.pkl").write_bytes(pickle.dumps(parameters))
    convert(tmp_path / "params.pkl", tmp_path / "params.safetensors")
    subject = load(tmp_path / "params.safetensors", layout="von-oswald-haiku", model_args={"n_layers": 1})
    assert isinstance(subject, TransformerRegressor)
    tasks = torch.randn(4, 11, 4, generator=torch.Generator().manual_seed(0), dtype=subject.dtype)
    torch.testing.assert_close(subject.predict(tasks), model(tasks))


# ---- what is refused ----


class Calls:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


class Stateful:
    """Its state is set by a method of its own."""

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("nothing is called")

    def __getstate__(self) -> Any:
        return {"w": np.ones(1)}


def named(module: str, name: str) -> bytes:
    """A name alone, as protocol 4 imports it."""
    return b"\x80\x04" + b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name)) + b"\x93."


HOSTILE = [
    *("os system", "posix system", "builtins eval", "builtins exec", "builtins getattr", "builtins __import__"),
    *("__builtin__ eval", "subprocess Popen", "importlib import_module", "operator attrgetter", "numpy load"),
    *("numpy.core.multiarray fromfile", "numpy ndarray.tofile", "numpy.testing._private.utils runstring"),
    *(
        "_codecs decode",
        "builtins bytearray",
        "builtins dict",
        "collections defaultdict",
        "torch._utils _rebuild_tensor",
    ),
    *("jax._src.array _reconstruct_array.__globals__", "numpy dtype.__class__", "antigravity fly_geohash"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_every_other_name_is_refused_by_name(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    command = f"touch {canary}".encode()
    argument = b"X" + struct.pack("<I", len(command)) + command
    module, attribute = name.split()
    called = b"c" + f"{module}\n{attribute}\n".encode() + argument + b"\x85R."
    inside = b"}X\x01\x00\x00\x00w" + called[:-1] + b"s."
    for content in (b"\x80\x02" + called, b"\x80\x02" + inside, named(module, attribute)):
        assert f"names '{module}.{attribute}'"[:60] in refused(tmp_path, content)
    for content in (b"(S'" + command + b"'\ni" + f"{module}\n{attribute}\n".encode() + b".",):
        assert "the opcode INST" in refused(tmp_path, content)
    assert not canary.exists()
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("protocol", range(6))
def test_calls_states_and_classes_are_refused(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "canary"
    for held, name in [
        (Calls(os.system, (f"touch {canary}",)), "system"),
        (Calls(eval, (f"open({str(canary)!r}, 'w')",)), "eval"),
        ({"w": np.ones(2), "x": [Calls(os.mkdir, (str(canary),))]}, "mkdir"),
        (Stateful(), "Stateful" if protocol > 1 else "_reconstructor"),
        (Path("x"), "Path"),
        (np.dtype([("a", "f4")]), "a dtype of several fields"),
        (np.array([object()]), "object" if protocol > 1 else "_reconstructor"),
        (np.array([None]), "an array of Python objects"),
        (np.array(["a"]), "an array of dtype 'U1'"),
        (np.ones(2, dtype=complex), "an array of dtype 'c16'"),
        (np.array(["2020-01-01"], "M8[D]"), "M8"),
        ({(1, 2): np.ones(1)}, "a tuple as a key"),
        ({"a": {1, 2}}, "set" if protocol < 4 else "the opcode EMPTY_SET"),
    ]:
        assert name in refused(tmp_path, pickle.dumps(held, protocol)), name
    assert not canary.exists()


def array_pickle(shape: bytes = b"K\x02\x85", content: bytes = b"\x00" * 16, function: bytes = b"") -> bytes:
    """An array of float64 by hand."""
    function = function or b"cnumpy._core.multiarray\n_reconstruct\n"
    made = function + b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return (
        b"\x80\x02" + made + b"(K\x01" + shape + dtype + b"\x89B" + struct.pack("<I", len(content)) + content + b"tb."
    )


@pytest.mark.parametrize("core", ["core", "_core"])
def test_the_array_by_hand_is_one(tmp_path: Path, core: str) -> None:
    """Under the name of NumPy 1 and that of NumPy 2."""
    named = f"cnumpy.{core}.multiarray\n_reconstruct\n".encode()
    assert converted(tmp_path, array_pickle(function=named))["array"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            array_pickle(b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85"),
            "an array that claims 8796093022208 bytes but stores 16",
        ),
        (array_pickle(b"\x8a\x09" + b"\xff" * 8 + b"\x00\x85"), "but stores 16"),
        (array_pickle(b"J\xfe\xff\xff\xff\x85"), "a shape of other things than"),
        (array_pickle(b"U\x01a\x85"), "a shape of other things than"),
        (array_pickle(b"(" + b"K\x01" * 40 + b"t"), "a shape of other things than up to 32 whole numbers"),
        (array_pickle(content=b"\x00" * 15), "claims 16 bytes but stores 15"),
        (array_pickle(content=b"\x00" * 24), "claims 16 bytes but stores 24"),
        (b"\x80\x02c_codecs\nencode\nU\x01aU\x05utf-8\x86R.", "bytes in an encoding that pickles do not use"),
        (b"\x80\x02K\x01(0.", "holds no arrays (left out: array = 1)"),
        (b"\x80\x02]K\x00K\x01s.", "an entry of what is no dictionary"),
        (b"\x80\x02)K\x01a.", "an item of what is no list"),
        (array_pickle().replace(b"U\x01<", b"U\x04(2,)"), "a dtype of several fields; expected plain numbers"),
        (array_pickle(function=b"cnumpy\ndtype\n"), "not a readable pickle of arrays"),
        (
            array_pickle().replace(b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"),
            "names 'numpy._core.multiarray._reconstruct'",
        ),
        (b"\x80\x02]r\xff\xff\xff\x7f.", "holds no arrays"),
        (b"\x80\x02B\xff\xff\xff\x7fabc.", "not a readable pickle of arrays"),
        (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7fabc.", "not a readable pickle of arrays"),
        (b"\x80\x02" + b"}" * 5 + b"s.", "not a readable pickle"),
        (b"\x80\x02.", "not a readable pickle"),
        (b"\x80\x02(K\x01\x85.", "holds no arrays"),
        (b"\x80\x02K\x01(\x85.", "too few values on the stack"),
        (b"\x80\x02e.", "not a readable pickle"),
        (b"\x80\x02h\x05.", "not a readable pickle"),
        (b"\x80\x05\x97.", "the opcode NEXT_BUFFER"),
        (b"\x80\x02K\x01Q.", "the opcode BINPERSID"),
        (b"\x80\x02\x82\x01.", "the opcode EXT1"),
        (b"\x80\x02}K\x01b.", "a state of what is no array"),
        (b"\x80\x02K\x01K\x02R.", "a call of what is no name"),
        (b"\x80\x02cbuiltins\nbytes\nK\x05\x85R.", "names 'builtins.bytes'"),
        (b"\x80\x02" + b"K\x01" * 3, "not a readable pickle"),
        (b"", "not a readable pickle"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"hello", "not a readable pickle"),
        (pickle.dumps({"a": "b"}), "holds no arrays (left out: a (str))"),
        (pickle.dumps({"a": 10**5000}), "holds no arrays (left out: a (int))"),
        (pickle.dumps({10**5000: 1}), "a int as a key"),
        (pickle.dumps({"k" * 1001: 1}), "a str as a key"),
    ],
    ids=range(37),
)
def test_damaged_pickles_and_those_that_claim_too_much(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in refused(tmp_path, content)


def laughs(depth: int, wide: int, leaf: Any) -> Any:
    """A tree whose branches are all the same ones: small in a file, and wide^depth leaves when it is walked."""
    for _ in range(depth):
        leaf = [leaf] * wide
    return leaf


def test_small_files_that_would_be_large(tmp_path: Path) -> None:
    deep: Any = np.ones(1)
    for _ in range(100):
        deep = [deep]
    for tree in (laughs(30, 2, np.ones(1)), deep):
        assert "over 100000 parts, 64 inside each other" in refused(tmp_path, pickle.dumps(tree))
    many = pickle.dumps(laughs(1, 500, np.ones(10_000)))
    assert len(many) < 100_000
    assert "would take 40000000 bytes, many of them several times" in refused(tmp_path, many)
    long_names: Any = np.ones(1)
    for _ in range(5):
        long_names = {"k" * 900: long_names}
    assert "a name of over 2000 letters" in refused(tmp_path, pickle.dumps(long_names))
    loop: list[Any] = [np.ones(1)]
    loop.append(loop)
    assert "64 inside each other" in refused(tmp_path, pickle.dumps(loop))
    tuples = b"\x80\x02)" + b"\x85" * 400_000
    assert "64 inside each other" in refused(tmp_path, tuples + b".")
    assert "a tuple as a key" in refused(tmp_path, b"\x80\x02}" + tuples[2:] + b"K\x01s.")
    assert "over 1000000 opcodes" in refused(tmp_path, b"\x80\x02" + b"K\x010" * 600_000 + b".")


def test_a_shared_weight_may_stand_twice(tmp_path: Path) -> None:
    tied = np.ones((64, 64))
    assert len(converted(tmp_path, pickle.dumps({"in": tied, "out": tied}))) == 2


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("a.pkl", "b.npz", "b.npz: is to be written; expected a name that ends in .safetensors"),
        ("a.pt", "b.safetensors", "a.pt: is no pickle and no .npz; expected .pkl, .pickle, .npz; state dicts of torch"),
        ("a.pkl", "there.safetensors", "there.safetensors: exists already; give another name, or --force"),
        ("a.pkl", "a.pkl/b.safetensors", "b.safetensors: cannot be written"),
    ],
)
def test_calls_that_cannot_be(tmp_path: Path, source: str, target: str, message: str) -> None:
    (tmp_path / source).write_bytes(pickle.dumps(np.ones(1)))
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    with pytest.raises(UsageError) as caught:
        convert(tmp_path / source, tmp_path / target)
    assert message in str(caught.value)
    assert (tmp_path / "there.safetensors").read_bytes() == b"mine"


def test_flax_message_packs_and_absent_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.msgpack").write_bytes(b"\x80")
    with pytest.raises(CheckpointRefused, match=r"a\.msgpack: MessagePack, as Flax writes it; where Flax is installed"):
        convert(tmp_path / "a.msgpack", tmp_path / "b.safetensors")
    with pytest.raises(CheckpointRefused, match=r"a\.msgpack: MessagePack, .*which mesascope does not open"):
        load(tmp_path / "a.msgpack")
    with pytest.raises(CheckpointRefused, match="no such file"):
        convert(tmp_path / "absent.pkl", tmp_path / "b.safetensors")


@pytest.mark.parametrize("ending", [".pkl", ".pickle"])
@pytest.mark.parametrize("layout", [None, "tl-legacy"])
def test_a_pickle_is_called_one_when_it_is_opened(tmp_path: Path, ending: str, layout: str | None) -> None:
    for protocol in (0, 4):
        (tmp_path / f"a{ending}").write_bytes(pickle.dumps(TREE, protocol))
        with pytest.raises(CheckpointRefused, match=rf"^a{ending}: a Python pickle.*; `mesascope convert FILE\.pkl"):
            load(tmp_path / f"a{ending}", layout=layout)


def test_bfloat16_is_refused_by_the_authors_layout(tmp_path: Path) -> None:
    name = "transformer/multi_head_attention/query/w"
    save_file({name: torch.ones(2, 2, dtype=torch.bfloat16)}, tmp_path / "half.safetensors")
    with pytest.raises(
        CheckpointRefused, match=rf"^half\.safetensors: '{name}' has dtype bfloat16; expected float16, fl"
    ):
        load(tmp_path / "half.safetensors", layout="von-oswald-haiku")
