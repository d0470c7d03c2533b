"""Asks the at(1) of Debian what the specifications mean, and writes corpus.jsonl; ours where they differ.

Needs root and `apt-get install at libfaketime`; it works on a spool of its own, in its own mount namespace:

    .venv/bin/python -m tests.timespec.record
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.timespec.corpus import CORPUS, ours
from tests.timespec.differences import reason
from tests.timespec.specifications import MOMENTS, asked, moment

SPOOL = Path("/var/spool/cron")
JOBS = SPOOL / "atjobs"
REFUSALS = {"job destined in the past": "past", "Garbled time": "garbled", "invalid date format": "garbled"}


@dataclass(frozen=True, slots=True)
class At:
    """The program, and the library that tells it another time."""

    program: Path
    faketime: Path

    def ask(self, spec: str, zone: str, now: datetime) -> str:
        """The instant that at(1) gives a job, else `past` or `garbled`."""
        environment = {
            "TZ": zone,
            "LD_PRELOAD": str(self.faketime),
            "FAKETIME": str(int(now.timestamp())),
            "FAKETIME_FMT": "%s",
        }
        words = spec.split(" ") if spec.startswith("-t ") else ["--", spec]
        said = subprocess.run(
            [self.program, "-v", *words],
            env=environment,
            input="true\n",
            capture_output=True,
            text=True,
            check=False,
        ).stderr
        for text, refusal in REFUSALS.items():
            if text in said:
                return refusal
        (job,) = JOBS.glob("a*")
        # Its name ends in the minutes since 1970; what at(1) prints is the same for both 2:30 of autumn.
        minutes = int(job.name[6:], 16)
        job.unlink()
        seconds = re.search(r":(\d\d) \d{4}$", said, re.MULTILINE)
        assert seconds, said
        instant = datetime.fromtimestamp(minutes * 60, ZoneInfo(zone))
        return (instant + timedelta(seconds=int(seconds[1]))).isoformat()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--at", type=Path, default="/usr/bin/at")
    parser.add_argument(
        "--faketime", type=Path, default="/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    )
    parser.add_argument("--unshared", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.unshared:
        again = [sys.executable, "-m", "tests.timespec.record", *sys.argv[1:], "--unshared"]
        os.execv("/usr/bin/unshare", ["unshare", "--mount", *again])  # noqa: S606 - this program again
    prepare_spool()
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "at"  # without the set-uid bit, which would keep libfaketime out
        shutil.copyfile(arguments.at, program)
        program.chmod(0o755)
        records = list(record(At(program, arguments.faketime)))
    CORPUS.write_text("".join(f"{json.dumps(line)}\n" for line in records), encoding="utf-8")
    unexplained = [line for line in records if isinstance(line, list) and line[-1] is None]
    if unexplained:
        raise SystemExit(f"{len(unexplained)} answers differ without a reason: {unexplained}")


def prepare_spool() -> None:
    """Put an empty spool over that of the machine."""
    subprocess.run(["/bin/mount", "-t", "tmpfs", "none", "/var/spool"], check=True)
    JOBS.mkdir(parents=True)
    (JOBS / ".SEQ").touch()
    for path in (SPOOL, JOBS, JOBS / ".SEQ"):
        shutil.chown(path, "daemon", "daemon")


def record(at: At) -> Iterator[dict[str, str] | list[str | None]]:
    """The lines of the corpus."""
    for number, (zone, text) in enumerate(MOMENTS):
        yield {"zone": zone, "now": text}
        now = moment(zone, text)
        for spec in asked(number):
            theirs, answer = at.ask(spec, zone, now), ours(spec, now)
            same = answer == theirs
            yield [spec, theirs] if same else [spec, theirs, answer, reason(spec, theirs, answer, now)]


if __name__ == "__main__":
    main()
