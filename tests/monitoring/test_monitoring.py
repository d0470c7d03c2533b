"""The dashboard and the alerts, in a real Prometheus that scrapes a real worker at work."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from tests.conftest import _fresh
from tests.processes import worker
from tests.readme import ROOT, blocks
from tests.servers.prometheus import PATIENCE, Prometheus, program, prometheus
from tests.tables import Table
from tests.worker.endpoint import Endpoint
from tests.worker.test_outage import free_port

MONITORING = ROOT / "monitoring"
ALERTS = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text(encoding="utf-8"))
PANELS = DASHBOARD["panels"]
QUERIES = sorted({target["expr"] for panel in PANELS for target in panel["targets"]})
RULES = re.findall(r"^      - alert: (\w+)$", ALERTS, re.MULTILINE)


def filled_in(expression: str) -> str:
    """A query of the dashboard as Grafana sends it."""
    values = {"$job": ".*", "$instance": ".*", "$__rate_interval": "1m"}
    return re.sub(r"\$\w+", lambda found: values[found[0]], expression)


def scrape_config(port: int) -> str:
    """The configuration that the README shows, in a hurry and for the port of the test."""
    (shown,) = (block for block in blocks("yaml") if "scrape_configs:" in block)
    config = shown.replace("alerts.yml", str(MONITORING / "alerts.yml"))
    config = re.sub(r"targets: \[.*\]", f'targets: ["127.0.0.1:{port}"]', config)
    return f"global: {{scrape_interval: 300ms, scrape_timeout: 300ms, evaluation_interval: 300ms}}\n{config}"


@pytest.fixture(scope="module")
def server(server_dsn: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen some tasks of every kind end."""
    port = free_port()
    with ExitStack() as stack:
        dsn = stack.enter_context(contextmanager(_fresh)(server_dsn, template))
        table = stack.enter_context(closing(Table(dsn)))
        endpoint = stack.enter_context(Endpoint())
        options = ("--processes", "2")
        stack.enter_context(worker(dsn, tmp_path_factory.mktemp("w"), *options, METRICS_PORT=str(port)))
        home = tmp_path_factory.mktemp("prometheus")
        running = stack.enter_context(prometheus(home, scrape_config(port)))
        until = time.monotonic() + PATIENCE
        seen = 'sum(increase(at_worker_tasks_total{task_type="http_callback"}[1m]) > 0)'
        while not (running.query(seen) and running.query("at_worker_queue_due_tasks")):
            assert time.monotonic() < until
            for path in ("/", "/", "/status/410", "/fails/1"):
                table.insert(
                    "http_callback",
                    {"url": f"{endpoint.url}{path}"},
                    retry_delays=[timedelta(milliseconds=50)],
                )
            time.sleep(0.3)
        yield running


@pytest.mark.parametrize("expression", QUERIES, ids=range(len(QUERIES)))
def test_each_query_of_the_dashboard_shows_something(expression: str, server: Prometheus) -> None:
    assert server.query(filled_in(expression))


def test_every_rule_is_loaded_and_evaluated_without_error(server: Prometheus) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        (group,) = server.ask("rules")["groups"]
        if all(rule["health"] != "unknown" for rule in group["rules"]):
            break
        assert time.monotonic() < until
    assert [(rule["name"], rule["health"]) for rule in group["rules"]] == [(name, "ok") for name in RULES]


def test_no_alert_is_about_what_no_worker_shows(server: Prometheus) -> None:
    shown = set(server.ask("label/__name__/values"))
    (group,) = server.ask("rules")["groups"]
    for rule in group["rules"]:
        named = re.findall(r"\bat_worker_\w+|\bup\b", rule["query"])
        assert named
        assert set(named) <= shown


def test_every_metric_is_shown_by_the_dashboard(server: Prometheus) -> None:
    shown = {name for name in server.ask("label/__name__/values") if name.startswith("at_worker_")}
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    assert [name for name in sorted(families) if name not in str(QUERIES)] == []


def test_each_alert_says_what_to_do_first(server: Prometheus) -> None:
    (group,) = server.ask("rules")["groups"]
    for rule in group["rules"]:
        assert set(rule["annotations"]) == {"summary", "action"}
        assert len(rule["annotations"]["action"]) > 50
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_the_sql_that_alerts_name_can_be_run(table: Table) -> None:
    statements = re.findall("`(SELECT [^`]+)`", ALERTS)
    assert len(statements) == ALERTS.count("SELECT")
    for statement in statements:
        table.run(sql.Composed([sql.SQL(statement)]))


def promtool(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [program("promtool"), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_nothing_wrong_with_the_alerts(tmp_path: Path) -> None:
    assert f"SUCCESS: {len(RULES)} rules found" in promtool(
        "check", "rules", str(MONITORING / "alerts.yml"), cwd=tmp_path
    )


def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    shutil.copy(MONITORING / "alerts.yml", tmp_path)
    shutil.copy(Path(__file__).with_name("alerts_test.yml"), tmp_path)
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml", cwd=tmp_path)


def test_the_panels_of_the_dashboard_do_not_cover_each_other() -> None:
    places = [
        (x, y)
        for panel in PANELS
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
