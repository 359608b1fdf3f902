"""Distil a teacher with the official SDK alone: ask, store, list, make a file, fine-tune, watch, evaluate, compare, deploy, ask.

    stillhouse serve &
    python examples/distil_with_the_sdk.py http://127.0.0.1:8321/v1

Only `base_url` is Stillhouse's. The teacher and the student's base come with it; any model that the gateway knows will do.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from openai import OpenAI

from stillhouse.tasks.coin_flip import coin_flip  # generated questions with known answers; bring your own

TEACHER, BASE, ALIAS = "builtin:teacher", "builtin:base", "puzzles"
PROJECT = {"project": "distil-with-the-sdk"}


def ask(client: OpenAI, model: str, text: str, **options: Any) -> str:
    """One answer."""
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], max_tokens=160, **options)
    return answer.choices[0].message.content or ""


def training_file(client: OpenAI) -> str:
    """The teacher's stored answers as a file; those that end in the right answer, which was sent along as metadata."""
    rows = []
    for stored in client.chat.completions.list(metadata=PROJECT, limit=100):
        answer, right = stored.choices[0].message.content or "", (stored.metadata or {})["reference"]
        if answer.rstrip(". ").endswith(right):
            question = client.chat.completions.messages.list(stored.id).data[0].content
            rows.append({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
    print(f"{len(rows)} of the stored answers are right and make the training file.")
    content = "".join(json.dumps(row) + "\n" for row in rows)
    return client.files.create(file=("puzzles.jsonl", content.encode()), purpose="fine-tune").id


def fine_tune(client: OpenAI, file_id: str, steps: int) -> str:
    """A student that learns the teacher's whole distribution, watched event by event; its name."""
    distillation = {"teacher": TEACHER, "signal": "live", "training": {"steps": steps, "batch_size": 16, "learning_rate": 4e-3}}
    job = client.fine_tuning.jobs.create(
        model=BASE, training_file=file_id, suffix=ALIAS, seed=1, extra_body={"distillation": distillation}
    )
    said: set[str] = set()
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(1)
        for event in reversed(client.fine_tuning.jobs.list_events(job.id, limit=50).data):
            every_tenth = event.type != "metrics" or int(event.data["step"]) % max(steps // 10, 1) == 0  # type: ignore[index]
            if event.id not in said and every_tenth:
                print(f"  {event.message}")
            said.add(event.id)
        job = client.fine_tuning.jobs.retrieve(job.id)
    if job.fine_tuned_model is None:
        raise SystemExit(f"The job {job.id} is {job.status}: {job.error}")
    return job.fine_tuned_model


def evaluate(client: OpenAI, models: dict[str, str], questions: list[Any]) -> None:
    """Both models on questions that neither has seen, by three kinds of graders."""
    criteria: list[Any] = [
        {"type": "string_check", "name": "says it", "input": "{{sample.output_text}}", "reference": "{{item.reference}}",
         "operation": "like"},
        {"type": "text_similarity", "name": "like the gold answer", "input": "{{sample.output_text}}",
         "reference": "The answer is {{item.reference}}.", "evaluation_metric": "rouge_l", "pass_threshold": 0.2},
        {"type": "answer", "name": "answers right"},
    ]  # fmt: skip
    schema = {"type": "object", "properties": {"question": {"type": "string"}, "reference": {"type": "string"}}}
    made = client.evals.create(
        name="puzzles",
        data_source_config={"type": "custom", "item_schema": schema, "include_sample_schema": True},
        testing_criteria=criteria,
    )
    items: list[Any] = [{"item": {"question": question.text, "reference": question.answer}} for question in questions]
    source: Any = {
        "type": "completions",
        "source": {"type": "file_content", "content": items},
        "input_messages": {"type": "template", "template": [{"role": "user", "content": "{{item.question}}"}]},
        "sampling_params": {"temperature": 0, "max_completion_tokens": 160},
    }
    runs = {
        role: client.evals.runs.create(made.id, name=role, data_source={**source, "model": model})
        for role, model in models.items()
    }
    for role, run in runs.items():
        while run.status in ("queued", "in_progress"):
            time.sleep(1)
            run = client.evals.runs.retrieve(run.id, eval_id=made.id)
        if run.status != "completed":
            raise SystemExit(f"The eval run {run.id} is {run.status}: {run.error}")
        passed = ", ".join(
            f"{one.testing_criteria}: {one.passed}/{one.passed + one.failed}" for one in run.per_testing_criteria_results
        )
        print(f"  {role}: {passed}")
        first = client.evals.runs.output_items.list(run.id, eval_id=made.id, limit=1).data[0]
        print(f"    e.g. {first.sample.output[0].content!r}")


def deploy(client: OpenAI, model: str) -> None:
    """From now on the student answers for the alias; the application's code stays as it is."""
    root = str(client.base_url).rstrip("/").removesuffix("/v1")
    client.post(f"{root}/api/routes", cast_to=object, body={"alias": ALIAS, "model": model, "note": "distilled"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base_url")
    parser.add_argument("--questions", type=int, default=300, help="asked of the teacher")
    parser.add_argument("--steps", type=int, default=300, help="of the student's training")
    parser.add_argument("--unseen", type=int, default=40, help="questions of the evaluation")
    options = parser.parse_args()
    client = OpenAI(base_url=options.base_url, api_key="unused on this machine", max_retries=5)

    print(f"Asking {TEACHER} {options.questions} questions, stored.")
    for question in coin_flip(options.questions, seed=0, pool="learn"):
        ask(client, TEACHER, question.text, store=True, metadata={**PROJECT, "reference": question.answer})
    file_id = training_file(client)
    print(f"Fine-tuning {BASE} on it.")
    student = fine_tune(client, file_id, options.steps)
    print(f"Evaluating the teacher, the base and {student}.")
    unseen = coin_flip(options.unseen, seed=1, pool="unseen")
    evaluate(client, {"teacher": TEACHER, "base": BASE, "student": student}, unseen)
    deploy(client, student)
    print(f"{unseen[0].text}\n{ALIAS}: {ask(client, ALIAS, unseen[0].text)}")


if __name__ == "__main__":
    main()
