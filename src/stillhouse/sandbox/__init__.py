"""User code, confined or refused: a process with nothing in it, nothing around it, and an end.

`running` starts one such process a call and says what became of it; `guest` is the script that locks itself in; `filtering` says
which system calls are left to it. Where a machine cannot confine, nothing runs: there is no lesser mode.
"""

from __future__ import annotations

from stillhouse.sandbox.running import CodeError, ConfinementError, Limits, Sandbox

__all__ = ["CodeError", "ConfinementError", "Limits", "Sandbox"]
