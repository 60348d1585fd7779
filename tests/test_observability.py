"""What ships for Prometheus and Grafana holds together: rules that fire, panels that fit, metrics that exist."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from wad.events import RequestServed
from wad.gauges import Gauges
from wad.metrics import Metrics

CONFIG = Path(__file__).parent.parent / "config"
RULES = CONFIG / "prometheus" / "alerts.yml"
RULE_TESTS = CONFIG / "prometheus" / "alerts_test.yml"
RUNBOOK = CONFIG.parent / "docs" / "alerts.md"
DASHBOARD: dict[str, Any] = json.loads((CONFIG / "grafana" / "wad.json").read_text())
ALERTS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]

NO_PROMTOOL = (
    "no promtool: `apt-get download prometheus && dpkg-deb -x prometheus_*.deb p`, then add p/usr/bin to PATH"
)
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason=NO_PROMTOOL)
#: What Prometheus itself makes of a target.
ITS_OWN = {"up", "ALERTS"}


def promtool(*args: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(
        ["promtool", *map(str, args)], capture_output=True, text=True, check=False, cwd=cwd
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """The name of every series that a wad has on its /metrics."""
    metrics = Metrics(version="1", providers=["cloud_api"], snapshot=Gauges)
    metrics._count(RequestServed("/healthz", "GET", 200, 0.1))
    return set(re.findall(r"^([a-z_]+)[{ ]", metrics.render().decode(), re.MULTILINE))


def named_in(expression: str) -> set[str]:
    """The metrics that an expression asks for."""
    return set(re.findall(r"\b(?:wad|process)_[a-z_]+\b|\bup\b", re.sub(r"\"[^\"]*\"", "", expression)))


# --- alerts ---------------------------------------------------------------------------------------


@needs_promtool
def test_the_rules_are_well_formed():
    """With every lint that promtool has."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@needs_promtool
def test_the_example_of_a_scrape_is_a_configuration():
    """As it stands, beside the rules it names."""
    promtool("check", "config", "scrape.yml", cwd=CONFIG / "prometheus")


@needs_promtool
def test_every_alert_fires_on_what_it_is_for_and_on_nothing_near_it():
    """The rules' own unit tests."""
    promtool("test", "rules", RULE_TESTS.name, cwd=CONFIG / "prometheus")


@pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert, exposed):
    """Whoever is woken reads what happened, how bad it is and where to go on; and it is tested that it fires."""
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/alerts.md#{alert['alert'].lower()}"
    assert named_in(alert["expr"]) <= exposed | ITS_OWN
    assert named_in(alert["expr"])
    assert fires_in_a_test(alert["alert"])


def fires_in_a_test(alert: str) -> bool:
    for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]:
        for each in test.get("alert_rule_test", []):
            if each["alertname"] == alert and each["exp_alerts"]:
                return True
        for each in test.get("promql_expr_test", []):
            if any(f'alertname="{alert}"' in sample["labels"] for sample in each["exp_samples"]):
                return True
    return False


def test_the_runbook_has_a_section_for_every_alert_and_no_other():
    """A link out of a page at night must lead somewhere."""
    sections = re.findall(r"^## (Wad\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sections == [alert["alert"] for alert in ALERTS]


# --- the dashboard --------------------------------------------------------------------------------


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Every query of the dashboard as Prometheus gets it, with where it stands."""
    variables = {"$__rate_interval": "5m", "$instance": ".*", "$provider": ".*"}
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in variables.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"].replace("$instance", ".*")


def test_the_dashboard_can_be_imported():
    """An id that stays over imports, a title, tags to find it by, and the schema it is written in."""
    assert DASHBOARD["uid"] == "wad"
    assert DASHBOARD["title"] == "wad"
    assert DASHBOARD["tags"]
    assert DASHBOARD["schemaVersion"] >= 36
    assert "id" not in DASHBOARD  # a number of one Grafana's own


def test_the_data_source_is_a_variable_and_the_only_one_used():
    """A name of somebody's own data source would leave every panel empty elsewhere."""
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    ours = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert [panel["datasource"], *(target["datasource"] for target in panel["targets"])] == [ours] * (
            1 + len(panel["targets"])
        )


def test_panels_fill_the_grid_without_overlap():
    """24 columns, each cell taken once, every row filled to its end."""
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies over {taken[x, y]}"
                taken[x, y] = panel["title"]
    height = max(y for _, y in taken) + 1
    assert set(taken) == {(x, y) for x in range(24) for y in range(height)}


def test_ids_titles_and_targets_are_each_named_once():
    """Links and overrides go by them."""
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len({panel["title"] for panel in everything}) == len(everything)
    for panel in panels():
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


def test_every_panel_says_what_it_shows_and_in_which_unit():
    """A curve without a unit is a drawing."""
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_every_metric_of_the_dashboard_exists(exposed):
    """A renamed metric leaves a panel empty, and nobody notices until it is needed."""
    for title, expression in expressions():
        assert named_in(expression), title
        assert named_in(expression) <= exposed, title


def test_every_metric_of_wad_is_on_the_dashboard(exposed):
    """What is worth measuring is worth seeing; what runs is in the annotation and the variables."""
    shown = set().union(*(named_in(expression) for _, expression in expressions())) | named_in(
        " ".join(each.get("definition", "") for each in DASHBOARD["templating"]["list"])
    )
    base = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    expected = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed if name.startswith("wad_")}
    assert expected <= base


@needs_promtool
def test_every_query_of_the_dashboard_is_one(tmp_path):
    """As recording rules, which promtool can check."""
    rules = [
        {"record": f"test:panel:{number}", "expr": expr} for number, (_, expr) in enumerate(expressions())
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yml")
