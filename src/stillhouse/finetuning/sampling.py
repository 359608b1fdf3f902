"""Reinforcement as expert iteration: answers are drawn from the base, graded, and those that pass are learned from.

This is rejection sampling (Anthony et al. 2017, expert iteration; Yuan et al. 2023, RFT), one round of it, not policy
optimisation: no gradient goes through the reward. Every answer is kept as it comes, the judges' too, so a run that was killed
asks nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from stillhouse.apply import Ask, Journal, Outcome, Remembering, apply
from stillhouse.chat import ChatModel, ChatRequest
from stillhouse.curation import Collected, Options, build, save
from stillhouse.curation.collect import example_of
from stillhouse.dataset import Dataset, Example, Split
from stillhouse.errors import UsageError
from stillhouse.filing import Filing, training_rows
from stillhouse.finetuning.bases import Base
from stillhouse.finetuning.refusals import JobFailedError
from stillhouse.finetuning.remembering import remember
from stillhouse.finetuning.request import JobRequest, ReinforcementHyperparameters
from stillhouse.formats.base import Row
from stillhouse.formats.openai_reinforcement import Prompt
from stillhouse.gateway import Gateway
from stillhouse.grade import Grade, Grader, GradingError
from stillhouse.graders.building import API_KINDS, parse_config
from stillhouse.graders.building import build as build_grader
from stillhouse.grading import means_of
from stillhouse.jobs.claim import Claim
from stillhouse.jobs.stoppable import run_stoppable
from stillhouse.prompts import sample_seed
from stillhouse.routing import Renamed
from stillhouse.run import Run
from stillhouse.sample import sample_of_response
from stillhouse.workspace import Workspace

SAMPLES = 4
"""Answers a question, at compute_multiplier 1."""
TEMPERATURE = 1.0
MAX_TOKENS = 256
CONCURRENCY = 16
JOURNAL = "samples.jsonl"


class Drawn(NamedTuple):
    """One answer."""

    prompt: Prompt
    split: Split
    file_id: str
    ask: Ask


def check_reinforcement(request: JobRequest, base: Base) -> None:
    """Raises UsageError for a base that cannot answer, or a grader that cannot be used here."""
    way = request.way.reinforcement
    assert way is not None
    if not base.pretrained or base.student["kind"] not in ("causal", "seq2seq"):
        raise UsageError(
            f"Reinforcement learns from answers that the model itself gives, and '{base.name}' gives none: fine-tune it first "
            "with the method 'supervised', and name the result."
        )
    if way.grader.get("type") not in API_KINDS or way.grader.get("type") == "label_model":
        kinds = ", ".join(kind for kind in API_KINDS if kind != "label_model")
        raise UsageError(f"A reinforcement grader is one of: {kinds} (got {way.grader.get('type')!r}).")
    parse_config(way.grader)


def sampled_dataset(
    workspace: Workspace, filing: Filing, request: JobRequest, base: Base, run: Run, claim: Claim
) -> tuple[Dataset, Run] | None:
    """The answers that passed as a dataset, and the run with what was found; None where it was asked to stop meanwhile.

    Raises JobFailedError where none passed, GradingError where the grader cannot grade, UpstreamError where the base is gone.
    """
    sampling = _Sampling(workspace, filing, request, base, run, claim)
    collected = run_stoppable(claim, sampling.go())
    if collected is None:
        return None
    claim.journal.append(sampling.summary, metrics={"reward/mean": sampling.mean, "reward/passed": float(sampling.passed)})
    if not any(example.split == "train" for example in collected.examples):
        raise JobFailedError(
            f"{sampling.summary} There is nothing to learn from: take an easier grader, more samples (compute_multiplier), or a "
            "base that was fine-tuned on the task first.",
            "no_answer_passed",
            "method.reinforcement.grader",
        )
    options = Options(near_duplicates=None, near_leaks=None, leaks="drop")
    version = build(f"{run.id}-samples", collected, options, recipe={"reinforcement": sampling.found()})
    known = workspace.store.dataset(version.fingerprint)
    dataset = known or save(version, workspace.dataset_folder, workspace.store)
    return dataset, remember(claim, run, reinforcement=sampling.found())


class _Sampling:
    """Draws and grades, and counts."""

    def __init__(self, workspace: Workspace, filing: Filing, request: JobRequest, base: Base, run: Run, claim: Claim) -> None:
        self._workspace = workspace
        self._filing = filing
        self._request = request
        self._model = str(base.student["base"])
        self._seed = int(run.spec["seed"])
        self._path = workspace.settings.runs / run.id / JOURNAL
        self._claim = claim
        self.drawn, self.passed, self.mean = 0, 0, 0.0
        self.validation: float | None = None
        """Mean reward of the answers to the validation file's questions."""

    @property
    def summary(self) -> str:
        return f"Of {self.drawn} answers drawn, {self.passed} passed the grader; their mean reward is {self.mean:.4f}."

    def found(self) -> dict[str, Any]:
        """What was done, as the API tells it."""
        counts = {"drawn": self.drawn, "passed": self.passed, "mean_reward": self.mean}
        validation = {} if self.validation is None else {"validation_mean_reward": self.validation}
        return {"way": "expert iteration", "rounds": 1, **counts, **validation}

    async def go(self) -> Collected:
        way = self._request.way.reinforcement
        assert way is not None
        gateway = Gateway(self._workspace.store, self._workspace.settings)
        gateway.refresh()
        try:
            with Journal(self._path, Outcome) as journal:
                known = journal.items()
                judges: dict[str, ChatModel] = {}

                def judge(name: str) -> ChatModel:
                    target = gateway.router.resolve(name)
                    return judges.setdefault(name, Remembering(Renamed(target.model, target.name), known, journal.add))

                grader = build_grader(way.grader, means_of(self._workspace.settings, gateway.router.resolve, judge))
                drawn = self._asks(way.hyperparameters)
                target = gateway.router.resolve(self._model)
                outcomes = await self._answers(Renamed(target.model, target.name), drawn, known, journal.add)
                return await self._graded(grader, drawn, outcomes)
        finally:
            await gateway.close()

    def _asks(self, wanted: ReinforcementHyperparameters) -> list[Drawn]:
        multiplier = 1.0 if wanted.compute_multiplier == "auto" else wanted.compute_multiplier
        checked = 1 if wanted.eval_samples == "auto" else wanted.eval_samples
        files: list[tuple[Split, str | None, int]] = [
            ("train", self._request.training_file, max(1, round(SAMPLES * multiplier))),
            ("valid", self._request.validation_file, checked),
        ]
        found = []
        for split, file_id, count in files:
            for row in () if file_id is None else training_rows(self._filing.path_of(file_id), "reinforcement"):
                if isinstance(row, Prompt) and file_id is not None:
                    found += [Drawn(row, split, file_id, self._ask(row, number)) for number in range(count)]
        return found

    def _ask(self, prompt: Prompt, number: int) -> Ask:
        tools = {"tools": prompt.tools} if prompt.tools else {}
        seed = sample_seed(self._seed, prompt.messages, number)
        options = {"temperature": TEMPERATURE, "max_completion_tokens": MAX_TOKENS, "seed": seed}
        return Ask.of(ChatRequest.build(self._model, prompt.messages, **tools, **options), sample=number)

    async def _answers(
        self, model: ChatModel, drawn: Sequence[Drawn], known: Sequence[Outcome], keep: Callable[[Outcome], None]
    ) -> list[Outcome]:
        self._claim.journal.append(f"Drawing {len(drawn)} answers from {self._model}")
        seen = {outcome.key: outcome for outcome in known}
        return await apply(model, [one.ask for one in drawn], concurrency=CONCURRENCY, seen=seen, keep=keep)

    async def _graded(self, grader: Grader, drawn: Sequence[Drawn], outcomes: Sequence[Outcome]) -> Collected:
        """The examples whose answer passed. An answer that was cut off by its limit is graded, and learned from if it passes."""
        collected, rewards = Collected(given_splits=True), {"train": list[float](), "valid": list[float](), "test": list[float]()}
        for one, outcome in zip(drawn, outcomes, strict=True):
            grade = await self._grade(grader, one.prompt, outcome)
            if grade is None:
                collected.left_out("it could not be answered, or graded")
                continue
            rewards[one.split].append(grade.score)
            if grade.passed and outcome.response is not None and outcome.response.text.strip():
                self.passed += one.split == "train"
                collected.examples.append(_example(one, outcome.response.text))
            else:
                collected.left_out("it did not pass the grader")
        self.drawn, self.mean = len(rewards["train"]), _mean(rewards["train"]) or 0.0
        self.validation = _mean(rewards["valid"])
        if drawn and not any(rewards.values()):
            raise GradingError(f"None of the {len(drawn)} answers drawn could be graded: {outcomes[0].error or self._fault}")
        return collected

    _fault = ""

    async def _grade(self, grader: Grader, prompt: Prompt, outcome: Outcome) -> Grade | None:
        if outcome.response is None:
            return None
        try:
            return await grader.grade(prompt.item, sample_of_response(outcome.response))
        except GradingError as exc:
            self._fault = str(exc)
            return None


def _mean(rewards: Sequence[float]) -> float | None:
    return sum(rewards) / len(rewards) if rewards else None


def _example(one: Drawn, text: str) -> Example:
    row = Row(line=one.prompt.line, messages=one.prompt.messages, answer=text, tools=one.prompt.tools)
    return example_of(row, source=f"file:{one.file_id}:{one.prompt.line}", split=one.split)
