import subprocess
import sys

import pytest

from at_worker.engine.stop import EXIT_NO_THREADS

DIES = """
from at_worker.engine.stop import thread

def turn():
    raise {error}

dying = thread("poller", turn)
dying.start()
dying.join()
"""


@pytest.mark.parametrize(("error", "code"), [("MemoryError", EXIT_NO_THREADS), ("ValueError", 0)])
def test_a_thread_that_dies_for_want_of_memory_takes_the_process_with_it(error: str, code: int) -> None:
    process = subprocess.run(
        [sys.executable, "-c", DIES.format(error=error)], capture_output=True, check=False
    )
    assert process.returncode == code
