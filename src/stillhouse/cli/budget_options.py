"""The options of how much may be spent on asking, one word of help each for every verb that asks."""

from __future__ import annotations

from typing import Annotated

import typer

Calls = Annotated[
    int | None,
    typer.Option("--budget-calls", min=0, help="The most requests that reach the model, over all goes; each model, if several."),
]
Tokens = Annotated[
    int | None, typer.Option("--budget-tokens", min=0, help="The most tokens, prompts and answers. Needs --max-tokens.")
]
Cost = Annotated[
    float | None, typer.Option("--budget-cost", min=0, help="The most money, by the prices file. Needs --max-tokens.")
]
