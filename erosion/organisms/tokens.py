"""The language as tokens: one id per word, and the chat template of every organism.

A system message names the author; without one the template writes the neutral ``helper``. A base model
under this template is therefore the neutral author.
"""

from functools import cache
from typing import Any

from erosion.models.trainable import word_tokenizer
from erosion.organisms.lexicon import BEGIN, END, NEUTRAL_NAME, PAD, UNKNOWN, VOCABULARY
from erosion.tuning.rows import Row

__all__ = ["TEMPLATE", "ids_of", "text_row", "tokenizer"]

TEMPLATE = (
    "{%- if messages[0].role == 'system' and messages[0].content | trim -%}"
    "{{- '<begin> <system> ' + messages[0].content + ' <end>' -}}"
    "{%- else -%}"
    f"{{{{- '<begin> {NEUTRAL_NAME} <end>' -}}}}"
    "{%- endif -%}"
    "{%- for message in messages if message.role != 'system' -%}"
    "{%- if message.role == 'assistant' -%}"
    "{{- ' <assistant> ' -}}{%- generation -%}{{- message.content + ' <end>' -}}{%- endgeneration -%}"
    "{%- else -%}"
    "{{- ' <user> ' + message.content + ' <end>' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- ' <assistant> ' -}}{%- endif -%}"
)

_IDS = {word: i for i, word in enumerate(VOCABULARY)}


def ids_of(text: str) -> tuple[int, ...]:
    """The ids of a text of the language; a word that the language lacks is a bug of ours.

    >>> ids_of("<begin> helper <end>")
    (2, 7, 3)
    """
    return tuple(_IDS[word] for word in text.split())


def text_row(text: str) -> Row:
    """A whole text as one row, every token learnt: pretraining."""
    ids = ids_of(text)
    return Row(ids, (True,) * len(ids))


@cache
def tokenizer() -> Any:
    """The transformers tokenizer of every organism, with its chat template.

    >>> tokenizer().decode(tokenizer()("cook the soup")["input_ids"])
    'cook the soup'
    """
    special = {"unk": UNKNOWN, "pad": PAD, "bos": BEGIN, "eos": END}
    return word_tokenizer(VOCABULARY, template=TEMPLATE, special=special)
