#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs numba-cuda's own tests on a libcuda.so.1 and compares with what is expected.

Every file of tests is a process of its own, several at once, each test with a time limit. A test
that crashes or hangs is a failed one, and the rest of its file runs in a new process. See
expectations.txt beside this file for its format, and `cargo xtask numba --help` for the usual way
to start it.
"""

import argparse
import concurrent.futures
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The simulator's tests need no device, benchmarks are none.
FOLDERS = ["core", "cudadrv", "cudapy", "doc_examples", "nocuda", "nrt"]
# These take longest; started first, they do not hold up the end.
LONGEST = ["cudapy.test_ufuncs", "cudapy.test_vector_type", "cudapy.test_vectorize"]
# Long, and mostly about the compiler: a short run leaves them out.
LONG = [
    *LONGEST,
    "core.test_serialize",
    "cudapy.test_array_alignment",
    "cudapy.test_cache_hints",
    "cudapy.test_caching",
    "cudapy.test_debuginfo",
    "cudapy.test_debuginfo_types",
    "cudapy.test_device_array_capture",
    "cudapy.test_errors",
    "cudapy.test_extending",
    "cudapy.test_fastmath",
    "cudapy.test_flow_control",
    "cudapy.test_gufunc",
    "cudapy.test_gufunc_scalar",
    "cudapy.test_record_dtype",
    "cudapy.test_sm_creation",
    "cudapy.test_ssa",
    "cudapy.test_transpose",
]
# Restarts of a file whose tests crash one after the other.
CRASHES_MAX = 40
PYTEST_INI = "[pytest]\nconsider_namespace_packages = true\n"


def suite_folder():
    found = importlib.util.find_spec("numba_cuda")
    return Path(found.submodule_search_locations[0]) / "numba/cuda/tests"


def test_files(patterns, short):
    names = []
    for folder in FOLDERS:
        for path in sorted((suite_folder() / folder).glob("test_*.py")):
            names.append(f"{folder}.{path.stem}")
    if patterns:
        names = [name for name in names if any(pattern in name for pattern in patterns)]
    if short:
        names = [name for name in names if name not in LONG]
    return sorted(names, key=lambda name: name not in LONGEST)


class File:
    """One file of tests."""

    def __init__(self, name, options, scratch):
        self.name = name
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix=name + ".", dir=scratch))
        (self.folder / "pytest.ini").write_text(PYTEST_INI)
        self.results = {}
        self.started = None
        self.started_at = 0.0
        self.seen_bytes = 0

    def read_events(self):
        path = self.folder / "events"
        if not path.exists():
            return
        with open(path, encoding="utf-8") as events:
            events.seek(self.seen_bytes)
            text = events.read()
        whole = text.rfind("\n") + 1
        self.seen_bytes += len(text[:whole].encode())
        for line in text[:whole].splitlines():
            event = json.loads(line)
            if "start" in event:
                self.started, self.started_at = event["start"], time.monotonic()
            elif "end" in event:
                self.results[event["end"]] = (event["outcome"], event["reason"])
                self.started = None
            elif "broken" in event:
                self.results[self.name] = ("failed", "cannot be loaded: " + event["broken"])
            elif "left_out" in event:
                self.results[self.name] = ("skipped", event["left_out"])

    def run_once(self):
        """Whether all that is left has run."""
        environment = dict(os.environ)
        environment.update(
            GVIRTUS_NUMBA_EVENTS=str(self.folder / "events"),
            GVIRTUS_NUMBA_DONE=str(self.folder / "done"),
            PYTHONPATH=str(HERE),
            PYTHONDONTWRITEBYTECODE="1",
            TMPDIR=str(self.folder),
            LD_LIBRARY_PATH=self.options.library,
        )
        if self.options.endpoint:
            environment["GVIRTUS_ENDPOINT"] = self.options.endpoint
        (self.folder / "done").write_text("\n".join(self.results))
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "reporter"]
        command += ["-p", "no:cacheprovider", "--pyargs", "numba.cuda.tests." + self.name]
        self.started, self.started_at = None, time.monotonic()
        with open(self.folder / "log", "ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        why = None
        while process.poll() is None:
            time.sleep(0.1)
            self.read_events()
            if time.monotonic() - self.started_at > self.options.limit:
                why = f"did not end within {self.options.limit} s"
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.read_events()
        if self.started is None and why is None:
            # 0 passed, 1 failed, 5 nothing left to run.
            if process.returncode not in (0, 1, 5) and self.name not in self.results:
                self.results[self.name] = ("failed", f"pytest ends with {process.returncode}")
            return True
        why = why or f"ended the process ({process.returncode})"
        self.results[self.started or self.name] = ("failed", why)
        return self.started is None

    def run(self):
        start = time.monotonic()
        for _ in range(CRASHES_MAX):
            if self.run_once():
                break
        else:
            self.results[self.name] = ("failed", "too many tests end their process")
        return time.monotonic() - start


def read_expectations(path, mode):
    """Name to outcome and reason; see the head of the file."""
    expected = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("|", 3)]
        if len(fields) != 4 or fields[1] not in ("failed", "skipped", "xfailed"):
            sys.exit(f"{path}:{number}: not `name | outcome | where | reason`")
        name, outcome, where, reason = fields
        if where in ("both", mode):
            expected[name] = (outcome, reason)
    return expected


def judge(results, expected):
    """Counts, and what is not as expected."""
    counts = dict(passed=0, failed=0, skipped=0, as_listed=0)
    surprises, better = [], []
    for name, (outcome, reason) in sorted(results.items()):
        listed = expected.get(name, ("passed", ""))[0]
        if outcome in ("passed", "xfailed") and listed in ("failed", "skipped"):
            better.append(name)
        if outcome in ("passed", "xfailed"):
            counts["passed"] += 1
        elif outcome == listed or (outcome == "skipped" and listed == "failed"):
            counts["skipped" if outcome == "skipped" else "as_listed"] += 1
        else:
            counts["failed"] += 1
            surprises.append(f"{name}: {outcome}: {reason}")
    return counts, surprises, better


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", required=True, help="folder that holds libcuda.so.1")
    parser.add_argument("--endpoint", help="the backend, if that is the client library")
    parser.add_argument("--jobs", type=int, default=2, help="files at once")
    parser.add_argument("--limit", type=float, default=300, help="seconds for a test")
    parser.add_argument("--short", action="store_true", help="leave the longest files out")
    parser.add_argument("--logs", type=Path, help="folder to copy the logs of the files to")
    parser.add_argument("--write", type=Path, help="write all results to this file")
    parser.add_argument("patterns", nargs="*", help="only files whose name contains one of these")
    return parser.parse_args()


def main():
    options = arguments()
    mode = "remoted" if options.endpoint else "straight"
    results, times = {}, {}
    lock = threading.Lock()
    with tempfile.TemporaryDirectory(prefix="gvirtus-numba-") as scratch:

        def run(name):
            file = File(name, options, scratch)
            seconds = file.run()
            with lock:
                results.update(file.results)
                times[name] = seconds
            if options.logs:
                options.logs.mkdir(parents=True, exist_ok=True)
                (options.logs / f"{name}.log").write_bytes((file.folder / "log").read_bytes())
            outcomes = [outcome for outcome, _ in file.results.values()]
            tally = ", ".join(f"{outcomes.count(o)} {o}" for o in sorted(set(outcomes)))
            print(f"  {seconds:6.1f} s  {name}: {tally}", flush=True)

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(run, test_files(options.patterns, options.short)))
    if options.write:
        options.write.write_text(
            "".join(f"{n} | {o} | {mode} | {r}\n" for n, (o, r) in sorted(results.items()))
        )
    expected = read_expectations(HERE / "expectations.txt", mode)
    counts, surprises, better = judge(results, expected)
    for name in better:
        print(f"passes now, and is listed in expectations.txt: {name}")
    for surprise in surprises:
        print(f"NOT AS EXPECTED {surprise}")
    ran = counts["passed"] + counts["failed"] + counts["as_listed"]
    share = 100 * counts["passed"] / max(ran, 1)
    print(
        f"numba-cuda {mode}: {counts['passed']} of {ran} tests that run pass ({share:.1f} %), "
        f"{counts['as_listed']} fail as listed"
    )
    skipped = counts["skipped"] + counts["as_listed"]
    print(f"{counts['passed']} passed, {counts['failed']} failed, {skipped} skipped")
    sys.exit(1 if surprises or not counts["passed"] else 0)


if __name__ == "__main__":
    main()
