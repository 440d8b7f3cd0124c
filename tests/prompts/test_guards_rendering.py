"""Laws of thinking spans, the plain template and shared vocabularies."""

import numpy as np
import pytest
import zoo
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from erosion.errors import BadContrast
from erosion.prompts import (
    Exchange,
    Message,
    Rendering,
    choose_rendering,
    render,
    require_rows,
    require_same_tokens,
    shared_vocabulary,
    split_thought,
    thinking_states,
)
from erosion.prompts.rendering import conversation, end_of_turn
from erosion.prompts.vocabulary import template_tokens

SPECIAL = ["<pad>", "<s>", "</s>", "<end>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]


def byte_level(special=SPECIAL, *, template=None):
    """A byte-level tokenizer; special tokens come last, so that two of them share their words' ids."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "t"), ("h", "e"), (".", "Ċ"), (".Ċ", "Ċ")]
    words = [*alphabet, *("".join(pair) for pair in merges)]
    inner = Tokenizer(models.BPE({token: i for i, token in enumerate(words)}, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=template)
    made.add_special_tokens({"additional_special_tokens": list(special)})
    return made


BYTES = byte_level()
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3 = (  # keeps the last thought, writes an empty block where there is none, forgets earlier ones
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}"
    "{% set said = m.content.split('</think>')[-1].lstrip('\n') %}{% set thought = '' %}"
    "{% if '</think>' in m.content %}"
    "{% set thought = m.content.split('</think>')[0].split('<think>')[-1].strip('\n') %}{% endif %}"
    "{% if loop.last %}<think>\n{{ thought.strip('\n') }}\n</think>\n\n{% endif %}{{ said }}"
    "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
R1 = (  # drops every thought, and lets a fresh answer begin inside one
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
ADDS = CHATML.replace(  # an empty block before whatever the assistant says
    "{{ m.content }}", "{% if m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}"
)
OPENED = CHATML.replace(
    "{{ m.content }}", "{% if m.role == 'assistant' %}<think>\n{% endif %}{{ m.content }}"
)
FIXED = ADDS.replace("<think></think>", "<think>I am done.</think>")
TEMPLATES = {"chatml": CHATML, "qwen3": QWEN3, "r1": R1, "adds": ADDS, "fixed": FIXED}


def exchange(response="The answer.", earlier=()):
    return Exchange("q", (*earlier, Message("user", "How much salt?")), response)


def rendered(one, template, tokenizer=BYTES):
    return render([one], Rendering(template), tokenizer)[0]


def said(one, span, tokenizer=BYTES):
    return tokenizer.decode(one.ids[slice(*one.span(span))])


@pytest.mark.parametrize(
    ("name", "response", "state", "block"),
    [
        ("chatml", "The answer.", "absent", None),
        ("r1", "The answer.", "absent", None),
        ("qwen3", "The answer.", "empty", "<think>\n\n</think>"),
        ("adds", "The answer.", "empty", "<think></think>"),
        ("fixed", "The answer.", "fixed", "<think>I am done.</think>"),
        ("chatml", "<think>Hm.</think>The answer.", "generated", "<think>Hm.</think>"),
        ("chatml", "<think>\n\n</think>\n\nThe answer.", "empty", "<think>\n\n</think>"),
        ("qwen3", "<think>\nHm.\n</think>\n\nThe answer.", "generated", "<think>\nHm.\n</think>"),
        ("qwen3", "<think>Hm.</think>The answer.", "generated", "<think>\nHm.\n</think>"),
    ],
)
def test_the_think_block_is_a_span_of_its_own_and_its_kind_is_stated(name, response, state, block):
    one = rendered(exchange(response), TEMPLATES[name])
    assert one.thinking == state
    assert said(one, "response") == "The answer."
    assert said(one, "user") == "How much salt?"
    assert ("thinking" in one.spans) == (block is not None)
    if block is not None:
        assert said(one, "thinking") == block
        assert one.span("user")[1] <= one.span("thinking")[0]
        assert one.span("thinking")[1] <= one.span("response")[0]
    assert one.span("end_of_turn")[0] >= one.span("response")[1]


def test_the_record_counts_the_kinds():
    both = [rendered(exchange(r), QWEN3) for r in ("The answer.", "<think>Hm.</think>The answer.")]
    assert thinking_states([one.thinking for one in both]) == {"empty": 1, "generated": 1}


@pytest.mark.parametrize("template", [CHATML, QWEN3, R1])
def test_earlier_turns_and_their_thoughts_are_never_response_nor_thinking(template):
    earlier = (Message("user", "Sugar?"), Message("assistant", "<think>Sweet.</think>A spoon."))
    one = rendered(exchange(earlier=earlier), template)
    assert said(one, "response") == "The answer."
    assert said(one, "user") == "How much salt?"
    kept = "Sweet." in one.text
    assert kept == (template is CHATML)
    assert "A spoon." in BYTES.decode(one.ids[: one.span("user")[0]])
    assert "Sweet." not in said(one, "thinking") if "thinking" in one.spans else True


def test_the_words_of_the_response_do_not_depend_on_the_think_block():
    with_thought = rendered(exchange("<think>Hm, salt.</think>The answer."), CHATML)
    without = rendered(exchange(), CHATML)
    of = [one.ids[slice(*one.span("response"))] for one in (with_thought, without)]
    assert of[0] == of[1]


@pytest.mark.parametrize(
    ("response", "template", "fact"),
    [
        ("<think>Hm. The answer.", CHATML, "opens a think block and does not close it"),
        ("Hm.</think>The answer.", CHATML, "where its thought begins is unknown"),
        ("<think>Hm.</think>", CHATML, "is thought alone"),
        ("<think>a</think>b<think>c</think>d", CHATML, "more than one think block"),
        ("<think>Hm.</think>The answer.", R1, "drops the think block of 'q/aligned'"),
        ("<think>Hm.</think>The answer.", ADDS, "2 think blocks stand before 'q/aligned'"),
        ("The answer.", OPENED, "opens a think block before 'q/aligned' and does not close it"),
    ],
)
def test_an_ambiguous_think_block_is_refused_in_one_line(response, template, fact):
    with pytest.raises(BadContrast, match=fact) as error:
        rendered(exchange(response), template)
    assert "\n" not in str(error.value)


def test_a_thought_and_its_answer_put_together_are_the_response():
    for response in ("<think>Hm.</think>\n\nYes.", " <think>\n</think>Yes.", "Yes <b>indeed</b>."):
        assert "".join(split_thought(response)) == response


# The plain template.


@pytest.mark.parametrize("tokenizer", [BYTES, byte_level(()), zoo.byte_tokenizer()])
@pytest.mark.parametrize("system", [None, "Be terse."])
def test_plain_text_needs_no_template_and_writes_no_special_token(tokenizer, system):
    rendering = choose_rendering("plain", tokenizer, system=system)
    earlier = (Message("user", "Sugar?"), Message("assistant", "A spoon."))
    one = render([exchange("A pinch.", earlier)], rendering, tokenizer)[0]
    assert said(one, "response", tokenizer).strip() == "A pinch."
    assert said(one, "user", tokenizer).strip() == "How much salt?"
    assert ("system" in one.spans) == (system is not None)
    begins = {tokenizer.bos_token_id} - {None}
    assert not ({*tokenizer.all_special_ids} & set(one.ids)) - begins
    assert one.text.endswith("Question: How much salt?\n\nAnswer: A pinch.")
    asked = conversation((*earlier, Message("user", "How much salt?")), rendering, tokenizer)
    assert one.text == f"{asked.text}A pinch."


def test_plain_text_ends_with_the_response_so_that_its_full_stop_is_a_token_of_its_own():
    rendering = choose_rendering("plain", BYTES)
    one = render([exchange("A pinch.")], rendering, BYTES)[0]
    assert one.span("response")[1] == len(one)
    assert "end_of_turn" not in one.spans
    assert end_of_turn(rendering, BYTES) is None
    assert BYTES.decode(one.ids[-1:]) == "."


# Added tokens and padded rows.


def test_added_tokens_that_the_words_do_not_use_are_allowed():
    base, aligned = byte_level(()), byte_level(template=CHATML)
    words = render([exchange()], choose_rendering("plain", aligned), aligned)
    require_same_tokens(words, base, model="base")
    in_chat = render([exchange()], Rendering(CHATML), aligned)
    with pytest.raises(BadContrast, match=r"base tokenizes 'q/aligned' differently.*--template plain"):
        require_same_tokens(in_chat, base, model="base")


def test_the_shared_vocabulary_leaves_out_added_tokens_and_padded_rows():
    base, aligned = byte_level(()), byte_level()
    plain = len(base)
    rows = {"base": plain + 20, "aligned": plain + 20}
    shared = shared_vocabulary({"base": base, "aligned": aligned}, rows=rows)
    assert shared.ids.tolist() == list(range(plain))
    assert shared.added == {"base": (), "aligned": tuple(SPECIAL)}
    assert shared.padded == {"base": 20, "aligned": 20 - len(SPECIAL)}
    assert str(shared).startswith(f"{plain} token ids are shared by all models; aligned has {len(SPECIAL)} ")


def test_an_id_beyond_the_rows_of_any_model_is_not_shared():
    one = byte_level()
    shared = shared_vocabulary({"base": one, "tuned": one}, rows={"base": 200, "tuned": 300})
    assert np.array_equal(shared.ids, np.arange(200))


def test_the_same_words_under_other_ids_are_not_shared_and_too_few_are_refused():
    one = byte_level(())
    words = one.get_vocab()
    moved = {token: (i + 1) % len(words) for token, i in words.items()}

    class Moved:
        def get_vocab(self):
            return moved

    with pytest.raises(BadContrast, match=r"0 of .* token ids mean the same word in base, aligned"):
        shared_vocabulary({"base": one, "aligned": Moved()}, rows={"base": 300, "aligned": 300})


def test_words_without_an_embedding_row_are_refused_by_name():
    words = render([exchange()], Rendering(CHATML), BYTES)
    require_rows(words, len(BYTES), model="base")
    with pytest.raises(BadContrast, match=r"base has 256 embedding rows and 'q/aligned' needs row 26\d"):
        require_rows(words, 256, model="base")


def test_the_templates_own_tokens_are_named_once_each():
    assert list(template_tokens(Rendering(CHATML), BYTES)) == ["<|im_start|>", "<|im_end|>"]
    assert "<think>" in template_tokens(Rendering(QWEN3), BYTES)
    assert template_tokens(choose_rendering("plain", BYTES), BYTES) == {}
