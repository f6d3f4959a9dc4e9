# SPDX-License-Identifier: Apache-2.0
"""What the programs of this folder share: checks that return a few numbers each, and are timed.

Every program runs by itself: `python3 cupy_arrays.py [CHECK …]`. It writes one line `@ {json}`
for itself and one for each check, whatever its libraries print between them. A check that fails
does not end the program. `gpu-check` runs each program natively and remoted and compares the
numbers. Where there is no GPU, `GPU_CHECK_DEVICE=cpu` tries the programs of PyTorch, Triton and
JAX themselves.
"""
import contextlib
import importlib
import json
import math
import os
import sys
import time
import traceback

# Runs after the first one, of which the fastest counts.
REPETITIONS = 3
MESSAGE_LENGTH = 200
DEVICE = os.environ.get("GPU_CHECK_DEVICE", "cuda")

_checks = []


def check(tolerance):
    """Marks a function that returns numbers. They are equal if no difference is more than
    `tolerance` times the largest of them."""
    def add(function):
        _checks.append((function, tolerance))
        return function
    return add


def need(*names):
    """Imports packages; a program whose packages are absent says so and ends well."""
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ImportError as error:
            tell(skipped="%s cannot be imported: %s" % (name, shorten(error)))
            sys.exit(0)
    return modules[0] if len(modules) == 1 else modules


def skip(reason):
    tell(skipped=reason)
    sys.exit(0)


def main(**facts):
    """Runs every check; `facts` describe the program's packages and device."""
    wanted = sys.argv[1:]
    tell(facts=facts)
    failed = 0
    for function, tolerance in _checks:
        if wanted and function.__name__ not in wanted:
            continue
        result = {"check": function.__name__, "tolerance": tolerance}
        try:
            result.update(measure(function))
        except Exception as error:
            failed += 1
            traceback.print_exc()
            result["error"] = "%s: %s" % (type(error).__name__, shorten(error))
        tell(**result)
    tell(done=True, failed=failed)
    finish(1 if failed else 0)


def measure(function):
    start = time.perf_counter()
    numbers = function()
    first_s = time.perf_counter() - start
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    numbers = [float(number) for number in numbers]
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise ArithmeticError("the result is %r" % numbers[:8])
    return {"numbers": numbers, "first_s": first_s, "best_s": min(times)}


def summary(array):
    """A NumPy array in a few numbers that do not cancel out."""
    import numpy as np
    values = np.asarray(array, dtype=np.float64).ravel()
    middle = values[len(values) // 2]
    return [np.abs(values).mean(), np.sqrt((values * values).mean()), values.max(), values.min(),
            values[0], middle, values[-1]]


def tell(**line):
    print("@ " + json.dumps(line), flush=True)


def shorten(error):
    text = " ".join(str(error).split())
    return text[:MESSAGE_LENGTH]


def finish(code):
    # Destructors of half-broken contexts may hang, and nothing of value is left to do; but the
    # client library counts at exit, so exit as a program does.
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    sys.exit(code)


def scratch(name):
    """A folder for a package's cache, so that no run profits from an earlier one."""
    folder = os.path.join(os.environ.get("GPU_CHECK_SCRATCH", "/tmp"), name)
    os.makedirs(folder, exist_ok=True)
    return folder
