# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin: writes a line when a test starts and one when it ends.

Each line is a JSON object in the file named by GVIRTUS_NUMBA_EVENTS. A test that takes the process
with it has a start and no end. Tests named in the file GVIRTUS_NUMBA_DONE are left out.
"""

import json
import os

import pytest

RANK = {"passed": 0, "xfailed": 1, "skipped": 2, "failed": 3}
PREFIX = "numba.cuda.tests."


def emit(**event):
    with open(os.environ["GVIRTUS_NUMBA_EVENTS"], "a", encoding="utf-8") as events:
        events.write(json.dumps(event) + "\n")


def name_of(item):
    module = item.module.__name__
    module = module.split("cuda.tests.", 1)[-1]
    path = [part for part in (getattr(item.cls, "__name__", None), item.name) if part]
    return ".".join([module, *path])


@pytest.fixture
def initialize_from_pytest_config(request):
    """What the suite's own conftest.py provides, which is not in the package."""
    request.cls._dump_failed_filechecks = False


def pytest_collection_modifyitems(config, items):
    done = os.environ.get("GVIRTUS_NUMBA_DONE")
    if done:
        with open(done, encoding="utf-8") as names:
            names = set(names.read().split("\n"))
        items[:] = [item for item in items if name_of(item) not in names]


class Reporter:
    def __init__(self):
        self.names = {}
        self.outcomes = {}
        self.reasons = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        self.names[item.nodeid] = name_of(item)
        emit(start=name_of(item))

    def pytest_runtest_logreport(self, report):
        outcome = report.outcome
        if hasattr(report, "wasxfail"):
            outcome = "xfailed" if outcome == "skipped" else "failed"
        reason = ""
        if outcome == "skipped" and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2]
        elif outcome == "failed":
            reason = str(report.longrepr).strip().split("\n")[-1]
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message.split("\n")[0] if crash else reason
        known = self.outcomes.get(report.nodeid, "passed")
        if RANK[outcome] > RANK[known]:
            self.outcomes[report.nodeid] = outcome
            self.reasons[report.nodeid] = reason

    def pytest_runtest_logfinish(self, nodeid):
        emit(
            end=self.names[nodeid],
            outcome=self.outcomes.get(nodeid, "passed"),
            reason=self.reasons.get(nodeid, ""),
        )

    def pytest_collectreport(self, report):
        if report.failed:
            emit(broken=str(report.longrepr).strip().split("\n")[-1])
        elif report.skipped:
            emit(left_out=str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "")


def pytest_configure(config):
    config.pluginmanager.register(Reporter(), "gvirtus-reporter")
