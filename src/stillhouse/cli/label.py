"""`stillhouse label`: ask a teacher for the answers to a dataset's or a file's questions, for any number of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from stillhouse.cli import budget_options
from stillhouse.cli.label_runs import ask, say_estimate
from stillhouse.cli.output import JsonFlag, Session, new_table, plain


class _RunUnlessNamed(TyperGroup):
    """`stillhouse label questions.txt ...` is `stillhouse label run questions.txt ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if named else ["run", *args])


app = typer.Typer(cls=_RunUnlessNamed, no_args_is_help=True)

SHOWN = 20
"""Rows of a table; the file has all."""

RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or the name of the dataset that it makes.")]


@app.command("run")
def run_(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="A dataset, or a file: .txt (a question a line), chat .jsonl, .csv, .parquet.")],
    model: Annotated[str, typer.Option("--model", help="The teacher: an upstream's model, an alias, or a local model.")],
    out: Annotated[str, typer.Option("--out", help="Name of the dataset that is made.")],
    samples: Annotated[int, typer.Option(min=1, help="Answers to each question; give a temperature or a seed with it.")] = 1,
    temperature: Annotated[float | None, typer.Option(min=0, max=2, help="Not sent when not said.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Every sample of every question is sent a seed drawn by this one. Not sent when not said.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer; a longer one is left out, never cut.")] = None,
    logprobs: Annotated[
        int, typer.Option(min=0, max=20, help="Ask for the likeliest tokens' log-probabilities too, and keep them to learn from.")
    ] = 0,
    concurrency: Annotated[
        int, typer.Option(min=1, help="The most requests at a time; how many is learnt from the answers.")
    ] = 128,
    budget_calls: budget_options.Calls = None,
    budget_tokens: budget_options.Tokens = None,
    budget_cost: budget_options.Cost = None,
    batch: Annotated[bool, typer.Option("--batch", help="Through the provider's batch API: within a day, for less.")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say what it would cost, and ask nothing.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Start it and come back at once.")] = False,
    json: JsonFlag = False,
) -> None:
    """Ask a teacher every question; its answers become a dataset.

    Every answer is on disk before the next question is asked. Killed and started again with the same words, it goes on, and pays
    for nothing twice but what was under way. A budget is never overspent; with a larger one, the same words go on.
    """
    from stillhouse.apply import Budget
    from stillhouse.jobs.labels import Wish

    session: Session = ctx.obj
    given: dict[str, Any] = {"temperature": temperature, "max_completion_tokens": max_tokens}
    wish = Wish(
        source=source,
        model=model,
        out=out,
        parameters={name: value for name, value in given.items() if value is not None},
        samples=samples,
        seed=seed,
        logprobs=logprobs,
        concurrency=concurrency,
        budget=Budget(calls=budget_calls, tokens=budget_tokens, cost=budget_cost),
        batch=batch,
    )
    if estimate:
        say_estimate(session, wish)
    else:
        ask(session, wish, detach=detach)


@app.command("classify")
def classify_(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="Texts: .txt (one a line), .csv, .jsonl, .parquet, or a dataset.")],
    labels: Annotated[str, typer.Option("--labels", help="A file, a label a line (behind a tab what it means); or yes,no,maybe")],
    out: Annotated[str, typer.Option("--out", help="Name of the dataset that is made.")],
    teacher: Annotated[list[str] | None, typer.Option("--teacher", metavar="MODEL", help="Who votes; repeat.")] = None,
    functions: Annotated[
        Path | None, typer.Option("--functions", metavar="FILE", help="Labelling functions that vote, too: a TOML file.")
    ] = None,
    column: Annotated[str, typer.Option("--column", help="Of a table or of objects: what the texts stand under.")] = "text",
    instructions: Annotated[str | None, typer.Option("--instructions", help="What the labels are about, for teachers.")] = None,
    may_abstain: Annotated[bool, typer.Option("--may-abstain", help="Tell teachers that they may answer 'unsure'.")] = False,
    answers: Annotated[
        str, typer.Option("--answers", help="json: constrained by response_format; text; auto: json, unless it is refused.")
    ] = "auto",
    samples: Annotated[int, typer.Option(min=1, help="Answers to each text, which vote; give a temperature with it.")] = 1,
    temperature: Annotated[float | None, typer.Option(min=0, max=2, help="Not sent when not said.")] = None,
    seed: Annotated[int | None, typer.Option(help="Every answer is sent a seed drawn by this one.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer.")] = None,
    logprobs: Annotated[int, typer.Option(min=0, max=20, help="Ask for log-probabilities: how sure an answer is.")] = 0,
    combine: Annotated[str, typer.Option("--combine", help="auto, vote, dawid-skene or one-coin.")] = "auto",
    weight: Annotated[list[str] | None, typer.Option("--weight", metavar="MODEL=W", help="Of a teacher's vote.")] = None,
    abstain_below: Annotated[float, typer.Option(min=0, max=1, help="Less probable labels are none.")] = 0.0,
    targets: Annotated[
        str, typer.Option("--targets", help="weighted: by how probable a label is; hard; soft: every label, each weighted.")
    ] = "weighted",
    left_out: Annotated[Path | None, typer.Option("--left-out", metavar="FILE", help="Texts without a label, as JSONL.")] = None,
    near_duplicates: Annotated[str, typer.Option(metavar="SIMILARITY", help="Texts from which on go; or off.")] = "0.9",
    concurrency: Annotated[int, typer.Option(min=1, help="The most requests at a time.")] = 128,
    budget_calls: budget_options.Calls = None,
    budget_tokens: budget_options.Tokens = None,
    budget_cost: budget_options.Cost = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say what it would cost, and ask nothing.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Start it as a run and come back at once.")] = False,
    json: JsonFlag = False,
) -> None:
    """Give every text one of a set of labels: teachers and labelling functions vote, and the votes become a dataset.

    Killed and started again with the same words, it goes on. With other functions or another way to combine, nobody is asked
    twice.
    """
    from stillhouse.cli.classifying import detach_classify, run_classify, say_estimates, wish_of_options

    wish = wish_of_options(ctx.params)
    if estimate:
        say_estimates(ctx.obj, wish)
    elif detach:
        detach_classify(ctx.obj, wish, left_out)
    else:
        run_classify(ctx.obj, wish, left_out)


@app.command()
def dead(ctx: typer.Context, run: RunName, json: JsonFlag = False) -> None:
    """The questions that have no usable answer, each with the reason and what the teacher said."""
    from stillhouse.jobs.dead_letters import dead_letters
    from stillhouse.jobs.labels import wish_of

    session: Session = ctx.obj
    found = list(dead_letters(session.workspace, wish_of(session.workspace, run)))
    table = new_table("source", ">sample", "reason", "what was said", ">attempts", "question")
    for each in found:
        said, question = plain(each.detail[:160]), plain(each.question[:80])
        table.add_row(plain(each.source), str(each.sample), plain(each.reason), said, str(each.attempts), question)
    session.emit(found, lambda: table)


@app.command()
def retry(
    ctx: typer.Context,
    run: RunName,
    unusable: Annotated[bool, typer.Option("--unusable", help="Also those whose answer was cut off, filtered or empty.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Start it and come back at once.")] = False,
    json: JsonFlag = False,
) -> None:
    """Ask the dead letters again; the dataset's next version has what they bring."""
    from stillhouse.jobs.dead_letters import ask_again
    from stillhouse.jobs.labels import wish_of

    session: Session = ctx.obj
    wish = wish_of(session.workspace, run)
    count = ask_again(session.workspace, wish, unusable=unusable)
    session.say(f"{count} questions are asked again.")
    ask(session, wish, detach=detach)


@app.command()
def prompts(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="The seeds: a dataset (its train split), or a file of questions.")],
    model: Annotated[str, typer.Option("--model", help="Who writes: an upstream's model, an alias, or a local model.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Chat JSONL that is made; what `label` reads.")],
    count: Annotated[int, typer.Option(min=1, help="New questions.")] = 100,
    method: Annotated[str, typer.Option(help="self-instruct: others like them; evolve: harder ones.")] = "self-instruct",
    avoid: Annotated[
        list[str] | None, typer.Option(metavar="DATASET", help="Whose questions must not be made: a test's.")
    ] = None,
    near: Annotated[float, typer.Option(min=0.1, max=1, help="Likeness from which a question is not new.")] = 0.7,
    temperature: Annotated[float, typer.Option(min=0, max=2)] = 1.0,
    seed: Annotated[int, typer.Option(help="Which seeds are shown together.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 1024,
    concurrency: Annotated[int, typer.Option(min=1, help="The most requests at a time.")] = 32,
    budget_calls: budget_options.Calls = None,
    budget_tokens: budget_options.Tokens = None,
    budget_cost: budget_options.Cost = None,
    json: JsonFlag = False,
) -> None:
    """Make more questions of a seed set, none that is there already or that a test asks."""
    import asyncio

    from stillhouse.apply import Budget
    from stillhouse.cli.watching import asking
    from stillhouse.curation.expanding import Expansion
    from stillhouse.jobs.prompts import expand_source

    session: Session = ctx.obj
    parameters = {"temperature": temperature, "max_completion_tokens": max_tokens}
    wanted: dict[str, Any] = {"model": model, "count": count, "method": method, "seed": seed, "near": near}
    session.workspace.share()
    with asking(session) as progress:
        working = expand_source(
            session.workspace,
            source,
            out,
            Expansion(**wanted, parameters=parameters),
            avoid=avoid or (),
            budget=Budget(calls=budget_calls, tokens=budget_tokens, cost=budget_cost),
            concurrency=concurrency,
            progress=lambda made, of: progress(model, made, of),
        )
        found = asyncio.run(working)
    turned = ", ".join(f"{number} {reason}" for reason, number in found.turned_away.items()) or "none"
    session.say(f"{found.made} questions in {out}. Turned away: {turned}.")
    if found.made < count:
        why = "the budget is spent" if found.out_of_budget else "nothing new came any more"
        session.say(f"{count - found.made} fewer than wanted: {why}.")
    session.emit(found)


@app.command("next")
def next_(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="The pool: a dataset (its train split), or a file of questions.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Chat JSONL that is made; what `label` reads.")],
    by: Annotated[
        str | None,
        typer.Option(
            help="least_confidence, margin, entropy, disagreement (of a student); k_means, k_center (coverage); random. "
            "Two joined by +: the second within the best of the first. Default: margin with a student, else k_means.",
            show_default=False,
        ),
    ] = None,
    student: Annotated[str | None, typer.Option(help="Whose doubts count.", show_default=False)] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many to choose.")] = 100,
    already: Annotated[
        list[str] | None,
        typer.Option(metavar="DATASET", help="What is labelled: neither it nor its like is chosen. Repeatable."),
    ] = None,
    embedder: Annotated[
        str | None, typer.Option(help="An upstream's embedding model. Default: TF-IDF, which needs none.", show_default=False)
    ] = None,
    near: Annotated[float, typer.Option(min=0.1, max=1, help="Likeness from which a question says another again.")] = 0.9,
    seed: Annotated[int, typer.Option(help="Of k_means and random.")] = 0,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests to the student at a time.")] = 8,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer of the student.")] = 256,
    json: JsonFlag = False,
) -> None:
    """Choose which questions are worth a label next (active learning); label them with: stillhouse label FILE.

    Never one that is labelled already, that valid or test ask, or that another one says again. The same words give the same file.
    """
    import asyncio

    from stillhouse.cli.watching import asking
    from stillhouse.curation.selecting import Wanted
    from stillhouse.jobs.choosing import choose_next
    from stillhouse.transcript import message_text

    session: Session = ctx.obj
    wanted = Wanted(by=by or ("k_means" if student is None else "margin"), n=n, seed=seed, near=near)
    with asking(session) as progress:
        choosing = choose_next(
            session.workspace,
            source,
            out,
            wanted,
            student=student,
            already=already or (),
            embedder=embedder,
            concurrency=concurrency,
            max_tokens=max_tokens,
            progress=lambda done, of: progress(student or "", done, of),
        )
        found = asyncio.run(choosing)
    left_out = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items()) or "none"
    session.say(f"{len(found.chosen)} of {found.pool:,} questions in {out}, by {found.by}. Left out before: {left_out}.")
    table = new_table(">score", "question", "why")
    for each in found.chosen[:SHOWN]:
        table.add_row(f"{each.score:.3f}", plain(message_text(each.messages[-1])[:80]), plain(each.reason))
    session.emit(found, lambda: table)
