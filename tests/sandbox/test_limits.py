"""How much confined code may take: memory, time and output end at their limits."""

from __future__ import annotations

import time

from stillhouse.sandbox import Limits
from tests.sandbox.calls import raises, run


async def test_memory_ends_at_the_limit() -> None:
    limits = Limits(memory_bytes=256 * 2**20)
    await raises("return len([0] * 10**9)", "MemoryError", limits=limits)
    await raises("kept = []\nwhile True: kept.append(bytearray(10**7))", "MemoryError", limits=limits)
    await raises("import mmap; return len(mmap.mmap(-1, 2**30))", "Cannot allocate|MemoryError", limits=limits)


async def test_time_ends_at_the_limit() -> None:
    began = time.monotonic()
    for body in (
        "while True: pass",
        "import time; time.sleep(1000)",
        "import re; return bool(re.match('(a+)+$', 'a' * 50 + 'b'))",
    ):
        failed = await raises(body, "took longer than 3 seconds", limits=Limits(seconds=3))
        assert failed.reason == "time"
    failed = await raises("while True: pass", "computed for longer than 1 seconds", limits=Limits(seconds=60, cpu_seconds=1))
    assert failed.reason == "time"
    stubborn = """
        import signal, time
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True:
            try:
                time.sleep(1000)
            except BaseException:
                pass
    """
    await raises(stubborn, "took longer", limits=Limits(seconds=3))
    assert time.monotonic() - began < 60


async def test_a_flood_of_output_is_cut_off_and_what_is_printed_is_no_answer() -> None:
    for body in (
        "while True: print('x' * 1000)",
        "import sys\nwhile True: sys.stderr.write('x' * 1000)",
        "import os\nwhile True: os.write(3, b'x' * 1000)",
    ):
        failed = await raises(body, "wrote more than 65536 bytes")
        assert failed.reason == "output"
    assert await run("""print('{"value": 1.0}'); return 0.25""") == 0.25
