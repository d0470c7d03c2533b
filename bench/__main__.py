"""`python -m bench`: measure, and write the table and the plots."""

import argparse
import shlex
import signal
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench import machine, report, results
from bench.arena import open_arena
from bench.measures.every import MEASURES
from bench.plan import FULL, QUICK
from bench.runner import carry_out, say

HERE = Path(__file__).parent


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="at-worker beside its peers.")
    parser.add_argument("--quick", action="store_true", help="about 3 minutes: small sizes, one round")
    parser.add_argument(
        "--only", nargs="+", choices=sorted(MEASURES), metavar="MEASURE", help=", ".join(MEASURES)
    )
    parser.add_argument("--rounds", type=int, help="rounds of each measurement")
    parser.add_argument("--scale", type=float, help="factor on the numbers of tasks")
    parser.add_argument("--contenders", nargs="+", metavar="NAME", help="only names that begin so")
    parser.add_argument("--dsn", help="a PostgreSQL to use instead of the embedded one")
    parser.add_argument("--out", type=Path, default=HERE, help="where results, table and plots go")
    parser.add_argument(
        "--redraw", action="store_true", help="only write table and plots anew from results.json"
    )
    return parser.parse_args()


def main() -> None:
    """Run what the arguments ask for."""
    given = arguments()
    file = given.out / "results.json"
    if given.redraw:
        report.write(results.load(file), given.out)
        return
    plan = QUICK if given.quick else FULL
    plan = replace(
        plan,
        rounds=given.rounds or plan.rounds,
        scale=given.scale or plan.scale,
        names=tuple(given.contenders or ()),
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="at-worker-bench-") as directory:
        # The server may run as somebody else.
        Path(directory).chmod(0o755)
        with open_arena(Path(directory), given.dsn) as arena:
            tables = {}
            for name in given.only or MEASURES:
                tables[name] = carry_out(MEASURES[name], arena, plan)
            run = results.Run(
                machine.machine(),
                machine.versions(arena),
                f"python -m bench {shlex.join(sys.argv[1:])}".strip(),
                datetime.now(UTC).strftime("%Y-%m-%d"),
                tables,
            )
    given.out.mkdir(parents=True, exist_ok=True)
    results.save(run, file)
    report.write(run, given.out)
    say(f"{given.out / 'RESULTS.md'}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
