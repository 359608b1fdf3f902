"""The options of a version that is made: how it is split, and what counts as a duplicate or a leak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli.similarities import similarity_of
from stillhouse.errors import UsageError

if TYPE_CHECKING:
    from stillhouse.curation import Options

Near = Annotated[str, typer.Option("--near-duplicates", metavar="SIMILARITY", help="Rows from which on go; 0 to 1, or off.")]
NearLeaks = Annotated[
    str, typer.Option("--near-leaks", metavar="SIMILARITY", help="Prompts from which on must not stand on two sides; or off.")
]
Split = Annotated[str, typer.Option("--split", metavar="SHARES", help="Of train, valid and test.")]
Seed = Annotated[int, typer.Option("--seed", help="Another one draws another split.")]
DropLeaks = Annotated[bool, typer.Option("--drop-leaks", help="Take out of train and valid what a later split asks too.")]
AllowLeaks = Annotated[int, typer.Option("--allow-leaks", min=0, help="Accept so many pairs, and write it down.")]


def options_of(split: str, seed: int, near_duplicates: str, near_leaks: str, drop_leaks: bool, allow_leaks: int) -> Options:
    """As the verbs take them. Raises UsageError."""
    from stillhouse.curation import Options

    try:
        shares = [float(share) for share in split.split(",")]
    except ValueError:
        raise UsageError(f"--split is shares of train, valid and test, as in --split 0.8,0.1,0.1; got '{split}'.") from None
    return Options.model_validate(
        {
            "shares": shares,
            "seed": seed,
            "near_duplicates": similarity_of(near_duplicates, "--near-duplicates"),
            "near_leaks": similarity_of(near_leaks, "--near-leaks"),
            "leaks": "drop" if drop_leaks else "fail",
            "allow_leaks": allow_leaks,
        }
    )
