"""The stations in their order, and what came out."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from stillhouse.answers import final_answer
from stillhouse.artifact import Artifact
from stillhouse.dataset import Dataset
from stillhouse.demo import stations
from stillhouse.demo.client import Client
from stillhouse.demo.gateway import serving
from stillhouse.demo.screen import Screen
from stillhouse.demo.size import Size
from stillhouse.demo.table import result_table
from stillhouse.grade import Report
from stillhouse.records import Record
from stillhouse.tasks import TASKS
from stillhouse.workspace import Workspace

if TYPE_CHECKING:
    from rich.table import Table


class Toured(Record):
    """What the demo measured."""

    data_dir: str
    dataset: Dataset
    student: Artifact
    control: Artifact
    report: Report
    asked: str
    """The last question, through the alias that the student answers for now."""
    said: str
    seconds: dict[str, float]
    """Station -> how long it took, on this machine."""
    cores: int

    def table(self) -> Table:
        """One row a model."""
        return result_table(self.report, TASKS.names())

    def commands(self) -> list[str]:
        """What to type to go on."""
        verbs = {
            "completions list": "what the gateway captured",
            f"eval failures {self.report.id}": "what the student got wrong",
            f"models show {self.student.id}": "where it came from",
            "serve": f"go on serving it as '{stations.ALIAS}'",
            f"route rollback {stations.ALIAS}": "back to the teacher",
        }
        width = max(map(len, verbs))
        return [
            f"\nIt took {sum(self.seconds.values()):.0f} s on {self.cores} cores. Everything is kept; to go on:",
            *(f"  stillhouse --data-dir {self.data_dir} {verb:<{width}}  # {what}" for verb, what in verbs.items()),
        ]


async def tour(workspace: Workspace, screen: Screen, size: Size, model: str | None, base_url: str | None) -> Toured:
    """The whole loop. Raises what its stations raise; the server is stopped whatever happens."""
    workspace.share()
    async with AsyncExitStack() as stack:
        with screen.station("start", "The gateway starts, a process of its own"):
            url = stack.enter_context(serving(workspace.settings.data_dir))
            teacher = stations.register_teacher(workspace, model, base_url)
            screen.say(f"   {url} answers; '{stations.ALIAS}' is {model or 'the teacher that comes along'}")
        instruction = None if model is None else stations.INSTRUCTION
        client = await stack.enter_async_context(Client(url, stations.ALIAS, instruction))
        dataset = await _collect(workspace, screen, size, client)
        student, control = _train(workspace, screen, size, teacher, dataset)
        report = await _compare(workspace, screen, dataset, {"teacher": teacher, "student": student.id, "control": control.id})
        asked, said = await _deploy(workspace, screen, client, student)
    return Toured(
        data_dir=str(workspace.settings.data_dir),
        dataset=dataset,
        student=student,
        control=control,
        report=report,
        asked=asked,
        said=said,
        seconds=screen.seconds,
        cores=os.cpu_count() or 1,
    )


async def _collect(workspace: Workspace, screen: Screen, size: Size, client: Client) -> Dataset:
    """The teacher is asked, the gateway keeps it, the right answers become a dataset."""
    asked = stations.questions(size.questions, "learn")
    total = len(asked) * size.samples
    with screen.station("ask", f"{total:,} requests, {len(asked):,} questions, through the openai SDK with store=True"):
        screen.say(f"   for example: {asked[0].text}")
        with screen.bar("answered") as tick:
            await client.ask_all(asked, samples=size.samples, temperature=size.temperature, done=lambda done: tick(done, total))
    with screen.station("dataset", "A dataset of what was stored; only answers that are right stay"):
        dataset = await stations.make_dataset(workspace, client, size)
        removed = ", ".join(f"{count:,} {reason}" for reason, count in dataset.removed.items()) or "nothing"
        screen.say(f"   {dataset.name}@{dataset.fingerprint[7:19]}: {dataset.counts}; left out: {removed}")
    return dataset


def _train(workspace: Workspace, screen: Screen, size: Size, teacher: str, dataset: Dataset) -> tuple[Artifact, Artifact]:
    """The student and its control, each a run like any other, both at once."""
    with screen.station("train", "The student learns the teacher's reasoning; a control of its size learns the answers alone"):
        recipes = [stations.recipe(size, teacher, rationale=rationale) for rationale in (True, False)]
        runs = [stations.start_training(workspace, recipe, dataset) for recipe in recipes]
        student, control = [stations.trained(workspace, run, screen.watch) for run in runs]
        screen.say(f"   {student.id}: {student.parameters:,} parameters; the control: {control.id}")
    return student, control


async def _compare(workspace: Workspace, screen: Screen, dataset: Dataset, models: dict[str, str]) -> Report:
    title = f"All of them answer {dataset.counts['test']} unseen questions with unseen names"
    with screen.station("evaluate", title), screen.bar("answered") as tick:
        models = {**models, "base": stations.BASE}
        return await stations.compare(workspace, dataset, models, lambda model, done, of: tick(done, of))


async def _deploy(workspace: Workspace, screen: Screen, client: Client, student: Artifact) -> tuple[str, str]:
    """The alias is the student's now; the client's code is what it was."""
    with screen.station("deploy", f"'{stations.ALIAS}' is the student now; the same client asks once more, streaming"):
        stations.point(workspace, student.id, "the student")
        question = stations.one_more()
        screen.say(f"   asked:  {question.text}")
        screen.write("   answer: ")
        said = ""
        async for piece in client.stream(question):
            screen.write(piece)
            said += piece
        verdict = "right" if final_answer(said) == question.answer else f"wrong: {question.answer}"
        screen.say(f"   ({verdict})")
    return question.text, said
