"""Alerts fire when they should, each has its place in the runbook, and all that they and the
dashboard ask a Prometheus for is there."""

import json
import re

import pytest
import yaml

from tests.k8s.prometheus import promtool, reading
from tests.k8s.rendered import K8S, RENDERINGS, ROOT, named, render
from tests.k8s.served import served_metrics

RULES = yaml.safe_load((K8S / "components/monitoring/rules.yaml").read_text())["spec"]
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
NAMES = sorted({rule["alert"] for rule in ALERTS})
DASHBOARD = json.loads((K8S / "components/monitoring/dashboard.json").read_text())
TESTS = ROOT / "tests/k8s/alerts.yaml"
# What no small system on processors has.
WITHOUT_GPU = ("gpu_memory", "nv_gpu")


@pytest.fixture
def rules(tmp_path):
    """The rules as Prometheus itself reads them, beside their tests."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))
    (tmp_path / "alerts.yaml").write_text(TESTS.read_text())
    return tmp_path


def test_prometheus_takes_the_rules(rules):
    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", rules / "rules.yaml")
    assert code == 0, said


def test_each_alert_fires_when_it_should_and_not_otherwise(rules):
    code, said = promtool("test", "rules", rules / "alerts.yaml")
    assert code == 0, said


def test_every_alert_is_tested_both_ways():
    cases = [one for test in yaml.safe_load(TESTS.read_text())["tests"]
             for one in test["alert_rule_test"]]  # fmt: skip
    fired = {one["alertname"] for one in cases if one.get("exp_alerts")}
    assert fired == {one["alertname"] for one in cases if not one.get("exp_alerts")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_section_of_the_runbook_that_says_what_to_do(name):
    file, _, anchor = (
        next(one for one in ALERTS if one["alert"] == name)["annotations"]["runbook_url"]
    ).partition("#")
    text = (ROOT / file).read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert anchor == name.lower() and name in headings
    section = text.split(f" {name}\n", 1)[1].split("\n#")[0]
    assert len(section.split()) > 25, "what to do, in more than a word"


def test_what_the_runbook_says_was_tried_is_there():
    text = (K8S / "RUNBOOK.md").read_text()
    named = set(re.findall(r"\b(?:tests|servicekit|gateway)/[\w/]+\.py", text))
    assert len(named) > 3 and all((ROOT / path).is_file() for path in named)


@pytest.mark.parametrize("name", [name for name in RENDERINGS if "+monitoring" in name][:1])
def test_the_rules_are_rendered_as_they_were_tested(name):
    assert named(render(name), "PrometheusRule", "variegate")["spec"] == RULES


def queries():
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "30s")
            yield panel["title"], expression.replace("$namespace", "variegate")
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]


@pytest.mark.slow
def test_every_query_works_on_the_metrics_of_services_that_have_worked(tmp_path, monkeypatch):
    """What a panel shows is there, and so is every series that an alert looks at."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with served_metrics(tmp_path) as ports, reading(tmp_path, ports) as prometheus:
        for pod in ports:
            prometheus.until(f'count_over_time(up{{pod="{pod}"}}[1m]) > 1')
        empty = set()
        for title, expression in queries():
            if not prometheus.query(expression) and title not in NAMES:
                empty.add(title)
        assert empty <= {"GPU memory in use"}
        for metric in sorted(asked()):
            assert prometheus.query(metric), metric


def asked():
    """The names of all series in all queries, but those of GPUs."""
    found = {name for _, text in queries() for name in re.findall(r"\b(?:variegate|nv)_\w+", text)}
    return {name for name in found if not any(part in name for part in WITHOUT_GPU)}
