# SPDX-License-Identifier: Apache-2.0
"""The part of gpu-check about Python packages: programs that run natively and remoted, each a
process with a time limit, whose checks are compared one by one."""
import json
import os
import re
import shutil
import sys
import tempfile

PREFIX = b"@ "
UNSUPPORTED = re.compile(r"^gvirtus: (\w+) is not supported$", re.MULTILINE)


def names(folder, wanted):
    """The programs whose name contains `wanted`."""
    found = (name for name in os.listdir(folder) if name.endswith(".py") and name != "harness.py")
    return sorted(name for name in found if wanted in name)


def run_program(folder, name, ways, pythons, tools):
    """One row. `ways` has the environments of the native and of the remoted run."""
    program = os.path.join(folder, name)
    row = {"name": name[:-3], "verdict": "SKIP", "problems": [], "checks": [], "facts": {},
           "seconds": {}, "statistics": None, "unsupported": {}}
    native = None
    for python in pythons:
        native = run_way(python, program, ways["native"], tools, counted=False)
        if "skipped" not in native:
            break
    row["seconds"]["native"] = native["seconds"]
    if "skipped" in native:
        row["problems"].append(native["skipped"])
        return row
    row["facts"] = native["facts"]
    if not native["checks"]:
        row["problems"].append("natively it fails: %s" % native["end"])
        return row
    remoted = run_way(python, program, ways["remoted"], tools, counted=True)
    row["seconds"]["remoted"] = remoted["seconds"]
    row["statistics"] = remoted["statistics"]
    row["unsupported"] = remoted["unsupported"]
    judge(row, native, remoted)
    return row


def judge(row, native, remoted):
    for name, result in native["checks"].items():
        row["checks"].append(compare(name, result, remoted["checks"].get(name), remoted["end"]))
    verdicts = [one["verdict"] for one in row["checks"]]
    if not native["done"]:
        row["problems"].append("natively it ends early: %s" % native["end"])
    elif not remoted["done"]:
        row["problems"].append("remoted: %s" % remoted["end"])
    elif remoted["code"] != native["code"] and "FAIL" not in verdicts:
        row["problems"].append("remoted: %s" % remoted["end"])
    if "skipped" in remoted:
        row["problems"].append("remoted: %s" % remoted["skipped"])
    elif not (remoted["statistics"] or {}).get("calls"):
        row["problems"].append("remoted: no call is known to have gone through the client library")
    remoted_problem = any(text.startswith("remoted") for text in row["problems"])
    if "FAIL" in verdicts or remoted_problem:
        row["verdict"] = "FAIL"
    elif "PASS" in verdicts:
        row["verdict"] = "PASS"


def compare(name, native, remoted, end):
    """The verdict on one check: PASS, FAIL, or NATIVE where it fails without us already."""
    row = {"name": name, "tolerance": native["tolerance"], "verdict": "PASS", "problem": None,
           "native": times(native), "remoted": times(remoted or {}), "difference": None}
    if "error" in native:
        row.update(verdict="NATIVE", problem="natively: " + native["error"])
        return row
    if remoted is None:
        row.update(verdict="FAIL", problem="no result: " + end)
    elif "error" in remoted:
        row.update(verdict="FAIL", problem=remoted["error"])
    else:
        row["difference"] = difference(native["numbers"], remoted["numbers"])
        if row["difference"] is None or row["difference"] > native["tolerance"]:
            row.update(verdict="FAIL", problem="%s instead of %s" % (
                short(remoted["numbers"]), short(native["numbers"])))
    return row


def times(result):
    return {key: result.get(key) for key in ("first_s", "best_s")}


def difference(expected, found):
    """The largest one, as a part of the largest number; None if they cannot be compared."""
    if len(expected) != len(found):
        return None
    largest = max(abs(number) for number in expected) or 1.0
    return max(abs(a - b) for a, b in zip(expected, found)) / largest


def short(numbers):
    shown = ", ".join("%.7g" % number for number in numbers[:8])
    return "[%s%s]" % (shown, ", …" if len(numbers) > 8 else "")


def run_way(python, program, environment, tools, counted):
    """Runs it once; what it told, and how it ended."""
    scratch = tempfile.mkdtemp(dir=tools.scratch)
    counters = os.path.join(scratch, "statistics.json")
    environment = dict(environment, GPU_CHECK_SCRATCH=scratch, PYTHONDONTWRITEBYTECODE="1",
                       CUPY_CACHE_DIR=os.path.join(scratch, "cupy"),
                       TRITON_CACHE_DIR=os.path.join(scratch, "triton"),
                       TORCHINDUCTOR_CACHE_DIR=os.path.join(scratch, "inductor"))
    if counted:
        environment["GVIRTUS_STATISTICS"] = counters
    try:
        done = tools.run([python, program], environment, scratch, tools.limit_s())
        told = read(done["stdout"])
        told.update(code=done["code"], seconds=done["seconds"], statistics=None,
                    end="%s: %s" % (done["end"], tools.tail(done["stderr"])))
        text = done["stderr"].decode("utf-8", "replace")
        told["unsupported"] = {name: None for name in UNSUPPORTED.findall(text)}
        try:
            with open(counters) as file:
                told["statistics"] = json.load(file)
            told["unsupported"].update(told["statistics"].get("unsupported", {}))
        except (OSError, ValueError):
            pass
        return told
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read(output):
    """The lines of the harness; whatever else a program or its libraries print is not ours."""
    told = {"facts": {}, "checks": {}, "done": False}
    for line in output.splitlines():
        if not line.startswith(PREFIX):
            continue
        try:
            value = json.loads(line[len(PREFIX):].decode("utf-8", "replace"))
        except ValueError:
            continue
        if "check" in value:
            told["checks"][value["check"]] = value
        elif "facts" in value:
            told["facts"] = value["facts"]
        elif "skipped" in value:
            told["skipped"] = value["skipped"]
        elif "done" in value:
            told["done"] = True
    return told


def progress(row):
    count = {verdict: sum(one["verdict"] == verdict for one in row["checks"])
             for verdict in ("PASS", "FAIL", "NATIVE")}
    seconds = "  ".join("%s %.1f s" % pair for pair in row["seconds"].items())
    line = "%s  %-24s  %d equal, %d not, %d fail natively  %s" % (
        row["verdict"], row["name"], count["PASS"], count["FAIL"], count["NATIVE"], seconds)
    problems = row["problems"] + ["%s: %s" % (one["name"], one["problem"])
                                  for one in row["checks"] if one["problem"]]
    return "\n      ".join([line] + problems)


def tables(rows, cell):
    """Markdown: the programs, then every check of each."""
    lines = ["| program | with | result | checks equal | native s | remoted s | ratio | calls "
             "| round trips |", "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in rows:
        counted = row["statistics"] or {}
        equal = sum(one["verdict"] == "PASS" for one in row["checks"])
        seconds = row["seconds"]
        lines.append("| %s | %s | %s | %d of %d | %s | %s | %s | %s | %s |" % (
            row["name"], cell(row["facts"].get("package", "–")), row["verdict"], equal,
            len(row["checks"]), decimal(seconds.get("native")), decimal(seconds.get("remoted")),
            decimal(ratio(seconds.get("remoted"), seconds.get("native"))),
            counted.get("calls", "–"), counted.get("round_trips", "–")))
    lines += ["", "Two numbers are equal if they differ by no more than the tolerance times the "
              "largest number of the check. Times: the first run, with what is compiled and loaded "
              "for it, and the fastest of three more.", "",
              "| check | result | tolerance | difference | native first ms | remoted first ms "
              "| native ms | remoted ms | ratio |",
              "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in rows:
        for one in row["checks"]:
            native, remoted = one["native"], one["remoted"]
            lines.append("| %s.%s | %s | %s | %s | %s | %s | %s | %s | %s |" % (
                row["name"], one["name"], one["verdict"], figure(one["tolerance"]),
                figure(one["difference"]), milliseconds(native["first_s"]),
                milliseconds(remoted["first_s"]), milliseconds(native["best_s"]),
                milliseconds(remoted["best_s"]),
                decimal(ratio(remoted["best_s"], native["best_s"]))))
    return lines


def unsupported_table(calls):
    """Markdown: what was called and is not supported, most often called first."""
    lines = ["| function | calls | by |", "| --- | ---: | --- |"]
    known = sorted(calls.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    for name, by in known:
        count, users = sum(by.values()) or "some", ", ".join(sorted(by))
        lines.append("| `%s` | %s | %s |" % (name, count, users))
    return lines


def collect(calls, name, unsupported):
    """Adds what one program called to all calls; a number is not always known."""
    for function, count in unsupported.items():
        by = calls.setdefault(function, {})
        by[name] = by.get(name, 0) + (count or 0)


def ratio(value, base):
    return value / base if value is not None and base else None


def decimal(value):
    return "–" if value is None else "%.2f" % value


def milliseconds(seconds):
    return "–" if seconds is None else "%.2f" % (seconds * 1e3)


def figure(value):
    return "–" if value is None else "%.3g" % value


if __name__ == "__main__":
    sys.exit("this is a part of gpu-check")
