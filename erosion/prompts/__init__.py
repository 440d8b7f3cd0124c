"""The words of a measurement: messages, exchanges, contrasts, questions and texts, read and rendered.

========================  ==========================================================================
``load_contrast``         a built-in contrast by name, or one in a file
``load_texts``            the built-in neutral texts, or those in a file
``read_contrast``         contrast JSONL: a question with both answers on each line
``read_chat``             chat JSONL, the form of published fine-tuning data
``read_pairs``            prompts with responses, under any of their common names
``read_dataset``          Hugging Face ``datasets``, on this machine or the hub
``read_questions``        questions without answers, from YAML
``pair``                  two sets of answers to the same questions as one contrast
========================  ==========================================================================

Each ``read_…`` has its ``write_…`` (but data sets), and what is written reads back equal.
"""

from erosion.prompts.builtin import CONTRASTS, TEXTS, load_contrast, load_texts
from erosion.prompts.chats import read_chat, write_chat
from erosion.prompts.contrasts import read_contrast, write_contrast
from erosion.prompts.exchanges import ROLES, Contrast, Exchange, Message, Note, Question, question_id
from erosion.prompts.hub import exchanges_from, read_dataset
from erosion.prompts.pairing import drop_unpaired, pair
from erosion.prompts.pairs import read_pairs, write_pairs
from erosion.prompts.questions import read_questions, write_questions
from erosion.prompts.rendering import (
    PLAIN_TEMPLATE,
    SPANS,
    Rendered,
    Rendering,
    choose_rendering,
    render,
    render_texts,
    require_same_tokens,
)
from erosion.prompts.texts import Text, read_texts
from erosion.prompts.thinking import split_thought, thinking_states
from erosion.prompts.vocabulary import SharedVocabulary, require_rows, shared_vocabulary

__all__ = [
    "CONTRASTS",
    "PLAIN_TEMPLATE",
    "ROLES",
    "SPANS",
    "TEXTS",
    "Contrast",
    "Exchange",
    "Message",
    "Note",
    "Question",
    "Rendered",
    "Rendering",
    "SharedVocabulary",
    "Text",
    "choose_rendering",
    "drop_unpaired",
    "exchanges_from",
    "load_contrast",
    "load_texts",
    "pair",
    "question_id",
    "read_chat",
    "read_contrast",
    "read_dataset",
    "read_pairs",
    "read_questions",
    "read_texts",
    "render",
    "render_texts",
    "require_rows",
    "require_same_tokens",
    "shared_vocabulary",
    "split_thought",
    "thinking_states",
    "write_chat",
    "write_contrast",
    "write_pairs",
    "write_questions",
]
