"""The final answer inside a text that reasons: where it stands, and how two of them are compared.

One rule for everybody: the control that is trained on answers alone, the grader that compares answers, the labels of a report.
It knows nothing of tasks; a task that needs another rule brings its own grader.
"""

from __future__ import annotations

import re
import unicodedata

_MARKER = re.compile(r"\banswer(?:\s+is\b\s*:?|\s*:)", re.IGNORECASE)
_WRAPPING = " \t\r\n*_`'\"“”‘’"
_EDGES = " \t\r\n.,;:!?*_`'\"“”‘’()[]{}"


def final_answer(text: str) -> str:
    """What stands after the last "answer is" or "answer:" up to the end of that line; the whole text where there is no marker.

    Quotes, emphasis and a closing full stop around it are dropped. A marker with nothing behind it does not count.
    """
    for marker in reversed(list(_MARKER.finditer(text))):
        answer = _unwrap(text[marker.end() :].lstrip(_WRAPPING + ":").partition("\n")[0])
        if answer:
            return answer
    return _unwrap(text)


def normalise(text: str) -> str:
    """The form in which answers are compared: Unicode NFKC, case folded, single spaces, no punctuation at the ends."""
    folded = text
    for _ in range(2):  # folding can undo the normal form and the other way round; twice is where it settles
        folded = unicodedata.normalize("NFKC", folded).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split()).strip(_EDGES)


def _unwrap(text: str) -> str:
    return text.strip(_WRAPPING).removesuffix(".").strip(_WRAPPING)
