"""The final answer inside a text that reasons: where it stands, and how two of them are compared.

One rule for everybody: the control that is trained on answers alone, the grader that compares answers, the labels of a report.
It knows nothing of tasks and types; what a type adds stands in the files beside this one.
"""

from __future__ import annotations

import re
import unicodedata

_MARKER = re.compile(r"\banswer(?:\s+is\b\s*:?|\s*:)|答案(?:[是为為][:：]?|[:：])", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\n|[.!?](?=\s)|。")
_WRAPPING = " \t\r\n*_`'\"“”‘’「」『』"
_PUNCTUATION = " \t\r\n;:!?*_`'\"“”‘’()[]{}「」『』【】《》〈〉、。…"
_FRONT = re.compile(rf"(?:[{re.escape(_PUNCTUATION)}]|[.,](?![0-9]))+")
"""A point before a digit is no punctuation: `.5` is not `5`."""


def final_answer(text: str) -> str:
    """What stands after the last "answer is", "answer:" or "答案是" up to the end of that line; without a marker, the whole text.

    Quotes, emphasis and a closing full stop around it are dropped. A marker with nothing behind it does not count.
    """
    return stated_answer(text) or _unwrap(text)


def stated_answer(text: str) -> str | None:
    """The same where a marker says so; None where the text has none."""
    found = _statement(text)
    return None if found is None else found[1]


def before_statement(text: str) -> str:
    """The text up to the sentence that states the answer; all of it where none does."""
    found = _statement(text)
    if found is None:
        return text
    start = max((end.end() for end in _SENTENCE_END.finditer(text, 0, found[0])), default=0)
    return text[:start]


def _statement(text: str) -> tuple[int, str] | None:
    """Where the last marker with an answer behind it begins, and that answer."""
    for marker in reversed(list(_MARKER.finditer(text))):
        answer = _unwrap(text[marker.end() :].lstrip(_WRAPPING + ":：").partition("\n")[0])
        if answer:
            return marker.start(), answer
    return None


def normalise(text: str) -> str:
    """The form in which answers are compared: Unicode NFKC, case folded, single spaces, no punctuation at the ends.

    A text of nothing but punctuation keeps it, so that it does not equal every other one.
    """
    folded = text
    for _ in range(2):  # folding can undo the normal form and the other way round; twice is where it settles
        folded = unicodedata.normalize("NFKC", folded).casefold()
    spaced = " ".join(unicodedata.normalize("NFKC", folded).split())
    ended = spaced.rstrip(_PUNCTUATION + ".,")
    front = _FRONT.match(ended)
    return ended[front.end() :] if front else ended or spaced


def _unwrap(text: str) -> str:
    bare = text.strip(_WRAPPING)
    return bare.removesuffix("." if bare.endswith(".") else "。").strip(_WRAPPING)
