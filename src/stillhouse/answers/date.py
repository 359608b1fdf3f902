"""Dates: `2024-05-01`, `05/01/2024`, `May 1, 2024`, `1 May 2024`; compared as days.

Where two numbers stand before the year, the first is the month, as in BIG-bench's date understanding; if it is over 12, the day.
"""

from __future__ import annotations

import datetime
import re

from stillhouse.answers.base import ByCanonicalForm

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?P<{{}}>{'|'.join(_MONTHS)})[a-z]*\.?"
_DATE = re.compile(
    r"(?<!\d)(?:"
    r"(?P<y1>\d{4})[-/.](?P<m1>\d{1,2})[-/.](?P<d1>\d{1,2})"
    r"|(?P<a2>\d{1,2})[-/.](?P<b2>\d{1,2})[-/.](?P<y2>\d{4})"
    rf"|{_MONTH.format('m3')}\s+(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?\s*,?\s+(?P<y3>\d{{4}})"
    rf"|(?P<d4>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH.format('m4')}\s*,?\s+(?P<y4>\d{{4}})"
    r")(?!\d)",
    re.IGNORECASE | re.ASCII,
)


class Date(ByCanonicalForm):
    name = "date"

    def candidates(self, text: str) -> list[str]:
        """Days that exist, as they are written."""
        return [match[0] for match in _DATE.finditer(text) if _iso(match)]

    def canonical(self, answer: str) -> str:
        """`2024-05-01`; empty where the answer holds no date."""
        return next((iso for match in _DATE.finditer(answer) if (iso := _iso(match))), "")


def _iso(match: re.Match[str]) -> str:
    found = match.groupdict()
    if found["y1"]:
        year, month, day = found["y1"], found["m1"], found["d1"]
    elif found["y2"]:
        year, month, day = found["y2"], found["a2"], found["b2"]
        if int(month) > 12:
            month, day = day, month
    else:
        third = found["y3"] is not None
        year, name, day = (found["y3"], found["m3"], found["d3"]) if third else (found["y4"], found["m4"], found["d4"])
        month = str(_MONTHS.index(name.lower()[:3]) + 1)
    try:
        return datetime.date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return ""
