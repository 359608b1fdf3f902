"""Reasoning before the answer: the twelve tasks, the templates, one rationale, thinking kept apart from what is said."""

from __future__ import annotations

from stillhouse.reasoning.rationale import Rationale
from stillhouse.reasoning.tasks import TASKS, ReasoningTask, task_of
from stillhouse.reasoning.templates import TEMPLATES, Template, template_of

__all__ = ["TASKS", "TEMPLATES", "Rationale", "ReasoningTask", "Template", "task_of", "template_of"]
