"""Prompts: cut where the label begins, the same label token everywhere, and refusals in words where that is not so."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mesascope.data import LabelMapping, TaskError
from mesascope.data.few_shot.drawn import draw_tasks
from mesascope.data.few_shot.examples import Example, Examples
from mesascope.data.few_shot.generated import generated_tasks
from mesascope.data.few_shot.tasks import FewShotTask
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source, load
from mesascope.models.tokenizing import ids_of, text_of
from mesascope.probes.few_shot.prompts import Prompts, prompts_of
from mesascope.probes.few_shot.template import TEMPLATE
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
STORIES = SHARED / "stories260k"
ANIMALS, THINGS = "the cat|a dog|one bird|some fish|my cow", "the ball|a box|one hat|some shoe|my bed"


def byte_level(trim: bool = True, n_words: int = 400, split: bool = True, more: str = "") -> Tokenizer:
    """As GPT-2's: a word's token holds the blank before it. Without `split`, tokens may hold any characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words = f"Q: {ANIMALS} {THINGS} A: big red yes no good bad é {more}".replace("|", " ")
    trainer = trainers.BpeTrainer(vocab_size=n_words, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([words] * 5, trainer)
    return tokenizer


@cache
def stories() -> Any:
    if not STORIES.is_dir():
        pytest.skip("the shared data are not here")
    return load(str(STORIES))


def subject_of(tokenizer: Any = None, bos: int | None = 2, n_ctx: int = 300, d_vocab: int = 500) -> AttentionOnlyModel:
    config = AttentionOnlyConfig(d_vocab=d_vocab, n_ctx=n_ctx, d_model=4, n_layers=1, n_heads=1, d_head=4)
    module = AttentionOnlyTransformer(config, {name: torch.zeros(shape) for name, shape in config.shapes.items()})
    return AttentionOnlyModel(module, Source("tiny", layout="in-memory", facts={"bos": bos}), tokenizer)


def examples_of(labels: Sequence[str] = ("animal", "thing")) -> Examples:
    named = zip(labels, (ANIMALS, THINGS), strict=False)
    return Examples(tuple(Example(text, label) for label, of in named for text in of.split("|")), "mine.jsonl")


def some_tasks(labels: Sequence[str] = ("animal", "thing"), n: int = 3, k: int = 3) -> list[FewShotTask]:
    return list(draw_tasks(examples_of(labels), n, k, 2, seed=0))


def refusal(subject: Any, tasks: Sequence[FewShotTask], template: str = TEMPLATE) -> str:
    with pytest.raises(TaskError) as refused:
        prompts_of(subject, tasks, template)
    assert "\n" not in str(refused.value)
    return str(refused.value)


SUBJECTS = ["trimmed", "with blanks", "transformers", "stories260k"]


def subject_named(name: str) -> Any:
    if name == "stories260k":
        return stories()
    tokenizer = byte_level(trim=name == "trimmed")
    return subject_of(PreTrainedTokenizerFast(tokenizer_object=tokenizer) if name == "transformers" else tokenizer)


@pytest.mark.parametrize("template", [TEMPLATE, "Input: {input}\\nLabel:\\n{output}\\n", "{input} -> {output} / "])
@pytest.mark.parametrize("name", SUBJECTS)
def test_prompts_are_the_beginning_of_the_whole_texts_tokens(name: str, template: str) -> None:
    subject, tasks = subject_named(name), some_tasks(("big", "good"))
    meant = template.replace("\\n", "\n")

    def check(prompt: tuple[int, ...], answer: int, examples: Sequence[Example]) -> None:
        texts = [meant.replace("{input}", str(one.input)).replace("{output}", str(one.output)) for one in examples]
        whole = [subject.bos, *ids_of(subject.tokenizer, "".join(texts))]
        assert [*prompt, answer] == whole[: len(prompt) + 1]
        ahead = "".join(texts[:-1]) + meant.split("{output}")[0].replace("{input}", str(examples[-1].input))
        assert text_of(subject.tokenizer, prompt[1:]).strip() == ahead.rstrip(" ").strip()

    for task, prompts in zip(tasks, prompts_of(subject, tasks, template), strict=True):
        right = [prompts.labels[place] for place in prompts.right]
        assert prompts.name == task.name
        for demo, prompt, answer in zip(task.demos, prompts.alone, prompts.answers, strict=True):
            check(prompt, answer, [demo])
            assert answer == prompts.labels[task.labels.index(demo.output)]
        for query, by_itself, after, answer in zip(
            task.queries, prompts.zero_shot, prompts.in_context, right, strict=True
        ):
            check(by_itself, answer, [query])
            check(after, answer, [*task.demos, query])
            assert answer == prompts.labels[task.labels.index(query.output)]


def test_own_tokens_are_those_with_which_both_prompts_end() -> None:
    """Llama's tokenizer puts a token before the first word of a text, which a query after demonstrations lacks."""
    (found,) = prompts_of(stories(), some_tasks(("big", "good"), n=1))
    for own, by_itself, after in zip(found.own, found.zero_shot, found.in_context, strict=True):
        assert by_itself[-own:] == after[-own:]
        assert own == len(by_itself) - 2  # BOS, and the token before the first word
    (found,) = prompts_of(subject_of(byte_level()), some_tasks(("big", "good"), n=1))
    assert found.own == tuple(len(prompt) - 1 for prompt in found.zero_shot)


def test_token_ids_are_put_one_after_another() -> None:
    tasks = list(generated_tasks(None, (), 4, 4, 4, seed=0, own=LabelMapping()))
    for bos in (80, None):
        subject = subject_of(bos=bos, d_vocab=81, n_ctx=18)
        begin = () if bos is None else (bos,)
        for task, prompts in zip(tasks, prompts_of(subject, tasks), strict=True):
            pairs = [token for demo in task.demos for token in (*demo.input, *demo.output)]
            assert prompts.alone == tuple((*begin, *demo.input) for demo in task.demos)
            assert prompts.answers == tuple(demo.output[0] for demo in task.demos)
            assert prompts.zero_shot == tuple((*begin, *query.input) for query in task.queries)
            assert prompts.in_context == tuple((*begin, *pairs, *query.input) for query in task.queries)
            assert prompts.labels == tuple(label[0] for label in task.labels)
            assert [prompts.labels[place] for place in prompts.right] == [query.output[0] for query in task.queries]
            assert prompts.own == (1,) * 8


def test_of_longer_labels_the_first_token_is_judged() -> None:
    demos = (Example((1, 2), (10, 11)), Example((3,), (20, 11)))
    task = FewShotTask("t", demos, (Example((4,), (20, 11)),), ((10, 11), (20, 11)), "r")
    (found,) = prompts_of(subject_of(), [task])
    assert found == Prompts("t", ((2, 1, 2), (2, 3)), (10, 20), ((2, 4),), ((2, 1, 2, 10, 11, 3, 20, 11, 4),), (1,),
                            (10, 20), (1,))  # fmt: skip


def test_of_free_text_first_tokens_may_coincide() -> None:
    demos = (Example((1,), (10,)), Example((3,), (10, 12)))
    task = FewShotTask("t", demos, (Example((4,), (20,)), Example((5,), (10,))), ((10,), (10, 12), (20,)), "r", True)
    (found,) = prompts_of(subject_of(), [task])
    assert found.labels == (10, 20)
    assert found.right == (1, 0)
    assert found.answers == (10, 10)
    (of_one,) = prompts_of(subject_of(), [replace(task, queries=task.queries[:1])])
    assert of_one.labels == (10, 20)  # also what demonstrations say is a label


def test_other_demonstrations_may_have_other_labels() -> None:
    one, other = some_tasks(("big", "good"), n=1)[0], some_tasks(("red", "bad"), n=2)[1]
    mixed = one.with_demos(replace(other, demos=tuple(replace(d, input=f"{d.input} x") for d in other.demos)))
    own, found = prompts_of(subject_of(byte_level()), [one, mixed])
    assert found.labels == own.labels
    assert not set(found.answers) & set(found.labels)


# -- refused -----------------------------------------------------------------------------------------------------------


def test_labels_that_begin_alike_are_named_with_others_to_take() -> None:
    said = refusal(stories(), some_tasks(("red", "rug")))
    assert "labels 'red' and 'rug' both begin with token " in said
    assert said.endswith("write labels that begin otherwise, 'yes' and 'no' say")
    prompts_of(stories(), some_tasks(("yes", "no")))
    pairs = tuple(Example((place,), (10, place)) for place in (3, 4))
    said = refusal(subject_of(), [FewShotTask("t", pairs, (Example((5,), (10, 3)),), ((10, 3), (10, 4)), "r")])
    assert "labels (10, 3) and (10, 4) both begin with token 10, and only a label's first token is judged" in said
    assert said.endswith("; write labels that begin otherwise")


def test_what_is_suggested_begins_otherwise_than_labels() -> None:
    said = refusal(subject_of(byte_level()), some_tasks(("yes", "yes!")))
    assert said.endswith("write labels that begin otherwise, 'no' and 'good' say")


def test_a_label_merged_with_the_template_is_refused() -> None:
    whole = byte_level(n_words=600, split=False, more="A:big")
    said = refusal(subject_of(whole, d_vocab=700), some_tasks(("big", "red")), "Q: {input}\nA:{output}\n\n")
    assert said.startswith("'A:big' is one token: the tokenizer merges 'A:' of the template with the label; end the")
    prompts_of(subject_of(whole, d_vocab=700), some_tasks(("big", "red")), "Q: {input}\nA:\n{output}\n\n")


def test_a_label_that_changes_the_tokens_before_it_is_refused() -> None:
    """Llama's tokenizer writes a blank and a letter that it lacks as two tokens, one of them before the label."""
    said = refusal(stories(), some_tasks(("big", "é")))
    assert "the tokens before a label depend on it: before 'big' they end with [" in said
    assert "before 'é' with [" in said
    assert "end the template before {output} with a line end, or write labels alike" in said
    prompts_of(stories(), some_tasks(("big", "é")), "Q: {input}\nA:\n{output}\n\n")


class Odd:
    """One token a character. Where `odd` says so of a text and a place, the letter there has another one."""

    def __init__(self, odd: Callable[[str, int], bool]) -> None:
        self.odd = odd

    def encode(self, text: str, add_special_tokens: bool) -> Any:
        ids = [99 if self.odd(text, place) else ord(letter) % 97 for place, letter in enumerate(text)]
        return SimpleNamespace(ids=ids, offsets=[(place, place + 1) for place in range(len(text))])


@pytest.mark.parametrize(
    ("odd", "template"),
    [
        (lambda text, place: len(text) > 40 and place == text.rindex("A: ") + 3, TEMPLATE),  # in context
        (lambda text, place: len(text) > 40 and place == text.index("A: ") + 3, TEMPLATE),  # a demonstration there
        (lambda text, place: text[place - 1] == "w", "{input}{output}\n"),  # after one input: my cow
    ],
)
def test_a_label_that_reads_otherwise_in_another_place_is_refused(odd: Any, template: str) -> None:
    said = refusal(subject_of(Odd(odd)), some_tasks(("big", "red"), n=9), template)
    assert "begins with token " in said
    assert " in one place and with " in said
    assert said.endswith("put a blank or a line end before {output}")


def test_a_label_without_tokens_is_refused() -> None:
    deaf = SimpleNamespace(encode=lambda text, add_special_tokens: SimpleNamespace(ids=[1], offsets=[(0, 1)]))
    assert "the tokenizer has no token for this label" in refusal(subject_of(deaf), some_tasks())


def test_a_blank_twice_is_refused() -> None:
    said = refusal(stories(), some_tasks((" big", " good")))
    assert said.startswith("the label ' big' begins with a blank, and so does the template have one before {output}")
    prompts_of(stories(), some_tasks((" big", " good")), "Q: {input}\nA:{output}\n\n")


@pytest.mark.parametrize("template", ["Q: {input}", "{output} {input}", "{input} {input} {output}", "{input}{outputs}"])
def test_templates_that_miss_a_place_are_refused(template: str) -> None:
    said = refusal(stories(), some_tasks(), template)
    assert said.startswith(f"template = {template!r}; expected {{input}} once and then {{output}} once")


def test_braces_of_examples_are_text() -> None:
    task = FewShotTask("t", (Example("{output}", "big"), Example("{0}", "red")), (Example("x", "big"),),
                       ("big", "red"), "r")  # fmt: skip
    (found,) = prompts_of(subject_of(byte_level()), [task])
    assert "{output}" in text_of(byte_level(), found.alone[0][1:])


@pytest.mark.parametrize(
    ("n_ctx", "fits"),
    [
        (20, "not even k = 1 fits: give shorter examples"),
        (40, "the largest k that fits is 1"),
        (60, "the largest k that fits is 2"),
        (75, "the largest k that fits is 3"),
    ],
)
def test_prompts_longer_than_the_context_are_refused_with_the_k_that_fits(n_ctx: int, fits: str) -> None:
    tokenizer = byte_level()
    tasks = some_tasks(("big", "red"), k=4)
    longest = max(len(prompt) for found in prompts_of(subject_of(tokenizer), tasks) for prompt in found.in_context)
    said = refusal(subject_of(tokenizer, n_ctx=n_ctx), tasks)
    assert f"with k = 4 a prompt has {longest} tokens; tiny reads at most {n_ctx}; {fits}" in said
    if "largest" in fits:
        k = int(fits[-1])
        prompts_of(subject_of(tokenizer, n_ctx=n_ctx), [task.fewer(k) for task in tasks])
        refusal(subject_of(tokenizer, n_ctx=n_ctx), [task.fewer(k + 1) for task in tasks])
    prompts_of(subject_of(tokenizer, n_ctx=longest), tasks)


def test_text_without_a_tokenizer_is_refused() -> None:
    assert (
        refusal(subject_of(), some_tasks()) == "tiny: came without a tokenizer, so it cannot read text; give token ids"
    )


@pytest.mark.parametrize("place", ["input", "output", "a query's label"])
def test_tokens_outside_the_vocabulary_are_refused(place: str) -> None:
    changed = {place: (500,)} if place in ("input", "output") else {}
    demos = (replace(Example((1,), (10,)), **changed), Example((3,), (20,)))
    label = (20,) if changed else (500,)
    task = FewShotTask("t", demos, (Example((4,), label),), (demos[0].output, label), "r")
    assert "token 500 is not in the vocabulary of tiny; expected 0 to 499" in refusal(subject_of(), [task])
