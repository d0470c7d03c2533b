"""`python -m bench`: measure, and write the table and the plots."""

import argparse
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from bench import readme, report, results
from bench.arena import open_broker
from bench.measures.every import MEASURES
from bench.plan import FULL, QUICK
from bench.runner import measured, say

HERE = Path(__file__).parent


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="at-worker beside its peers.", allow_abbrev=False
    )
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


def show(run: results.Run, directory: Path) -> None:
    """Write what people read; the project's README only where the results are its own."""
    report.write(run, directory)
    if directory.resolve() == HERE.resolve():
        readme.write(run, HERE.parent / "README.md")


def main() -> int:
    """Run what the arguments ask for; each measurement is kept as soon as it is through. 1 if any failed."""
    given = arguments()
    file = given.out / "results.json"
    run = results.load(file)
    if given.redraw:
        show(run, given.out)
        return 0
    plan = QUICK if given.quick else FULL
    plan = replace(
        plan,
        rounds=given.rounds or plan.rounds,
        scale=given.scale or plan.scale,
        names=tuple(given.contenders or ()),
    )
    given.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    failed = []
    try:
        with open_broker() as broker:
            for name in given.only or MEASURES:
                table = measured(MEASURES[name], plan, broker, given.dsn)
                run = run.renewed(table, MEASURES)
                results.save(run, file)
                if table.failed:
                    failed.append(name)
    finally:
        show(run, given.out)
        say(f"{given.out / 'RESULTS.md'}: {time.monotonic() - began:.0f} s")
    if failed:
        say(f"Not everything could be measured: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
