#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Triton: kernels compiled to machine code at run time, on PyTorch's tensors."""
import os

import harness

os.environ.setdefault("TRITON_CACHE_DIR", harness.scratch("triton"))
triton, torch, np = harness.need("triton", "torch", "numpy")
tl = harness.need("triton.language")
if harness.DEVICE == "cuda" and not torch.cuda.is_available():
    harness.skip("PyTorch sees no device")
device = torch.device(harness.DEVICE)


def summary(tensor):
    return harness.summary(tensor.detach().double().cpu().numpy())


def device_name():
    return torch.cuda.get_device_name() if harness.DEVICE == "cuda" else harness.DEVICE


def numbers(*shape, seed=1):
    values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return torch.from_numpy(values).to(device)


@triton.jit
def add_kernel(x, y, out, count, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < count
    tl.store(out + at, tl.load(x + at, mask=mask) + tl.load(y + at, mask=mask), mask=mask)


@triton.jit
def softmax_kernel(x, out, columns, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    mask = at < columns
    values = tl.load(x + row * columns + at, mask=mask, other=-float("inf"))
    powers = tl.exp(values - tl.max(values, axis=0))
    tl.store(out + row * columns + at, powers / tl.sum(powers, axis=0), mask=mask)


@triton.jit
def product_kernel(a, b, c, SIDE: tl.constexpr, BLOCK: tl.constexpr):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for start in range(0, SIDE, BLOCK):
        inner = start + tl.arange(0, BLOCK)
        left = tl.load(a + rows[:, None] * SIDE + inner[None, :])
        right = tl.load(b + inner[:, None] * SIDE + columns[None, :])
        total += tl.dot(left, right)
    tl.store(c + rows[:, None] * SIDE + columns[None, :], total)


@triton.jit
def count_kernel(x, bins, count, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < count
    tl.atomic_add(bins + tl.load(x + at, mask=mask, other=0), 1, mask=mask)


@harness.check(0)
def addition():
    x, y = numbers(100000), numbers(100000, seed=2)
    out = torch.empty_like(x)
    add_kernel[(triton.cdiv(100000, 1024),)](x, y, out, 100000, BLOCK=1024)
    return summary(out)


@harness.check(1e-6)
def softmax():
    x = numbers(256, 700)
    out = torch.empty_like(x)
    softmax_kernel[(256,)](x, out, 700, BLOCK=1024)
    torch.testing.assert_close(out, x.softmax(1))
    return summary(out)


@harness.check(1e-2)
def matrix_product():
    a, b = numbers(512, 512).half(), numbers(512, 512, seed=2).half()
    c = torch.empty(512, 512, device=device)
    product_kernel[(8, 8)](a, b, c, SIDE=512, BLOCK=64)
    return summary(c)


@harness.check(0)
def atomic_operations():
    x = (torch.arange(1 << 16, device=device) * 7919 % 128).int()
    bins = torch.zeros(128, dtype=torch.int32, device=device)
    count_kernel[(64,)](x, bins, 1 << 16, BLOCK=1024)
    return summary(bins)


if __name__ == "__main__":
    harness.main(package="triton %s on torch %s" % (triton.__version__, torch.__version__),
                 device=device_name())
