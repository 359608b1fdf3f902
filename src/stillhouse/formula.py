"""Formulas over named numbers, `0.8 * accuracy + 0.2 * max(style, 0.5)`: a parser of their own, and no code is ever evaluated.

sum     = product { ("+" | "-") product }
product = sign { ("*" | "/" | "//" | "%") sign }
sign    = ("+" | "-") sign | power
power   = atom [ ("^" | "**") sign ]             to the right: 2^3^2 is 2^(3^2), and -2^2 is -4, as on paper
atom    = number | name | name "(" sum { "," sum } ")" | "(" sum ")"
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stillhouse.errors import UsageError

LONGEST = 4096
"""Characters."""
DEEPEST = 64
"""Parentheses, calls and signs inside one another."""

FUNCTIONS: dict[str, tuple[Callable[..., float], int | None]] = {
    "min": (min, None),
    "max": (max, None),
    "abs": (abs, 1),
    "floor": (math.floor, 1),
    "ceil": (math.ceil, 1),
    "exp": (math.exp, 1),
    "sqrt": (math.sqrt, 1),
    "log": (math.log, 1),
}
"""Name -> function, and how many numbers it takes (None: one or more)."""

_TOKEN = re.compile(r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)|(?P<sign>\*\*|//|[-+*/%^(),]))")

Values = Mapping[str, float]
Node = Callable[[Values], float]
Operation = Callable[[float, float], float]


class FormulaError(UsageError):
    """A formula that cannot be read, or has no value for these numbers."""

    code = "invalid_formula"


@dataclass(frozen=True)
class Formula:
    """A formula that was read."""

    text: str
    names: frozenset[str]
    """The numbers it needs."""
    _node: Node

    @classmethod
    def parse(cls, text: str) -> Formula:
        """Raises FormulaError."""
        parser = _Parser(text)
        node = parser.whole()
        return cls(text, frozenset(parser.names), node)

    def value(self, values: Values) -> float:
        """Its value, a finite number. Raises FormulaError: a name without a number, a division by 0, a root of -1."""
        try:
            value = float(self._node(values))
        except KeyError as exc:
            raise FormulaError(f"'{self.text}' needs {exc}, and there is no such number.") from exc
        except (ArithmeticError, ValueError, TypeError) as exc:
            raise FormulaError(f"'{self.text}' has no value here: {exc}.") from exc
        if not math.isfinite(value):
            raise FormulaError(f"'{self.text}' has no finite value here.")
        return value


class _Parser:
    """Recursive descent, a method a line of the grammar."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise FormulaError(f"A formula has at most {LONGEST} characters, this one has {len(text)}.")
        self.text = text
        self.names: set[str] = set()
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._sum()
        if self._kind != "end":
            raise self._unexpected()
        return node

    def _sum(self) -> Node:
        return self._chain(self._product, ("+", "-"))

    def _product(self) -> Node:
        return self._chain(self._sign, ("*", "/", "//", "%"))

    def _chain(self, rule: Callable[[], Node], operators: tuple[str, ...]) -> Node:
        """From the left, in one loop: a long sum is no deep one."""
        first, rest = rule(), []
        while self._token in operators:
            rest.append((_OPERATIONS[self._take()], rule()))
        return _folded(first, rest) if rest else first

    def _sign(self) -> Node:
        if self._token not in ("+", "-"):
            return self._power()
        sign = self._take()
        inner = self._deeper(self._sign)
        return inner if sign == "+" else lambda values: -inner(values)

    def _power(self) -> Node:
        base = self._atom()
        if self._token not in ("^", "**"):
            return base
        self._take()
        return _folded(base, [(_power, self._deeper(self._sign))])

    def _atom(self) -> Node:
        kind, token = self._kind, self._token
        if kind == "number":
            self._take()
            number = float(token)
            return lambda values: number
        if kind == "name":
            self._take()
            return self._call(token) if self._token == "(" else self._variable(token)
        if token == "(":
            self._take()
            node = self._deeper(self._sum)
            self._expect(")")
            return node
        raise self._unexpected()

    def _variable(self, name: str) -> Node:
        self.names.add(name)
        return lambda values: float(values[name])

    def _call(self, name: str) -> Node:
        if name not in FUNCTIONS:
            raise FormulaError(f"There is no function '{name}' in '{self.text}'. There are: {', '.join(FUNCTIONS)}.")
        function, wanted = FUNCTIONS[name]
        self._expect("(")
        given = [self._deeper(self._sum)]
        while self._token == ",":
            self._take()
            given.append(self._deeper(self._sum))
        self._expect(")")
        if wanted is not None and len(given) != wanted:
            raise FormulaError(f"{name}() takes {wanted} number, and got {len(given)} in '{self.text}'.")
        return lambda values: function(*[each(values) for each in given])

    @property
    def _kind(self) -> str:
        return self._tokens[self._at][0]

    @property
    def _token(self) -> str:
        return self._tokens[self._at][1]

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _expect(self, token: str) -> None:
        if self._token != token:
            raise self._unexpected()
        self._take()

    def _deeper(self, rule: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise FormulaError(f"A formula is nested at most {DEEPEST} deep.")
        node = rule()
        self._depth -= 1
        return node

    def _unexpected(self) -> FormulaError:
        found = f"'{self._token}'" if self._token else "its end"
        return FormulaError(f"'{self.text}' cannot be read: {found} stands where a number, a name, an operator or ')' should.")


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while text[at:].strip():
        token = _TOKEN.match(text, at)
        if token is None:
            raise FormulaError(f"'{text}' cannot be read from '{text[at:].strip()[:20]}' on.")
        assert token.lastgroup is not None
        found.append((token.lastgroup, token[token.lastgroup]))
        at = token.end()
    return [*found, ("end", "")]


def _folded(first: Node, rest: list[tuple[Operation, Node]]) -> Node:
    def node(values: Values) -> float:
        value = first(values)
        for operation, each in rest:
            value = operation(value, each(values))
        return value

    return node


def _power(base: float, exponent: float) -> float:
    """Raises ValueError where the result is no real number."""
    return math.pow(base, exponent)


_OPERATIONS: dict[str, Operation] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
}
