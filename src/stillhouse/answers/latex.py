"""LaTeX, boxed or not: `\\boxed{\\frac{1}{2}}`. Compared as a number where it is one, else as text without layout.

Numbers are integers, decimals, `\\frac{a}{b}`, `a/b`, `50\\%` and mixed signs; nothing is calculated beyond that: `2\\pi` and
`\\pi\\cdot 2` are not the same here. A grader that runs Python is for those.
"""

from __future__ import annotations

import re
from fractions import Fraction

from stillhouse.answers.base import ByCanonicalForm

_BOX = re.compile(r"\\f?boxe?d?\s*\{")
_MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_WORDS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname)\s*\{([^{}]*)\}")
_LAYOUT = re.compile(r"\\(?:left|right|displaystyle|!|,|;|:|quad|qquad)|\\ |~|\$|\\\(|\\\)|\\\[|\\\]")
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))")
_RATIONAL = re.compile(r"([-+]?\d{1,40}(?:\.\d{1,40})?|[-+]?\.\d{1,40})(?:/(\d{1,40}(?:\.\d{1,40})?))?(%?)")


class Latex(ByCanonicalForm):
    name = "latex"

    def candidates(self, text: str) -> list[str]:
        """The contents of every box; without any, of every formula; without those, the text itself."""
        boxes = [content for match in _BOX.finditer(text) if (content := _braced(text, match.end())) is not None]
        if boxes:
            return boxes
        formulas = [next(filter(None, groups)) for groups in _MATH.findall(text)]
        return formulas or ([text.strip()] if text.strip() else [])

    def canonical(self, answer: str) -> str:
        """`\\boxed{0.50}`, `\\frac12` and `1/2` are `1/2`; anything else loses layout, `\\text`, outer `x =` and spaces."""
        found = _BOX.search(answer)
        inner = _braced(answer, found.end()) if found else None
        bare = _settled(answer if inner is None else inner)
        number = _RATIONAL.fullmatch(bare)
        if number and Fraction(number[2] or 1):
            return str(Fraction(number[1]) / Fraction(number[2] or 1) / (100 if number[3] else 1))
        return bare


def _braced(text: str, start: int) -> str | None:
    """From behind an opening brace to the one that closes it; None when none does."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position]
    return None


def _settled(text: str) -> str:
    """Taking layout away may bring forth more of it; after some rounds what is left counts as text."""
    for _ in range(20):
        bare = _bare(text)
        if bare == text:
            break
        text = bare
    return text


def _bare(text: str) -> str:
    bare = _LAYOUT.sub("", text.strip().removesuffix("."))
    bare = _WORDS.sub(r"\1", bare)
    for _ in range(4):  # a fraction within a fraction, three deep
        bare = _FRACTION.sub(lambda found: f"{found[1] or found[2]}/{found[3] or found[4]}", bare)
    bare = _THOUSANDS.sub("", bare.replace("\\%", "%").replace("^\\circ", "").replace("^{\\circ}", ""))
    bare = re.sub(r"^(?:\s*[A-Za-z]\s*=)+", "", bare)
    return re.sub(r"\s+", "", bare).casefold() if len(bare) > 1 else bare.strip()
