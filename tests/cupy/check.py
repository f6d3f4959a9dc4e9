#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What CuPy computes, compared with NumPy. The last line counts: `N passed, N failed, N skipped`.

CuPy compiles with NVRTC; `CUPY_COMPILE_WITH_PTX=1` makes it compile to PTX.
"""
import sys
import traceback

import cupy as cp
import numpy as np

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def same(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(cp.asnumpy(found), expected, rtol=tolerance, atol=tolerance)


def numbers(dtype=np.float32, count=1000):
    host = (np.arange(count) * 37 % 101 - 20).astype(dtype)
    return cp.asarray(host), host


@check
def elementwise():
    for dtype in (np.float32, np.float64, np.int32, np.int64, np.uint8, np.complex64):
        x, host = numbers(dtype)
        same(x * x + 3 * x - 1, host * host + 3 * host - 1)


@check
def functions():
    x, host = numbers(np.float64)
    y, other = cp.abs(x) + 1, np.abs(host) + 1
    same(cp.sqrt(y) + cp.log(y) + cp.sin(x) * cp.tanh(x), np.sqrt(other) + np.log(other) + np.sin(host) * np.tanh(host))


@check
def half_precision():
    x, host = numbers(np.float16)
    same(x / 4 + x, host / 4 + host, 1e-2)


@check
def comparisons_and_choice():
    x, host = numbers()
    same(cp.where(x > 3, x, -x), np.where(host > 3, host, -host))
    same(x[x > 10], host[host > 10])


@check
def reductions():
    for dtype in (np.float32, np.float64, np.int32):
        x, host = numbers(dtype)
        for name in ("sum", "max", "min", "mean", "argmax", "argmin", "var", "prod"):
            if name == "prod":
                same((x[:5] + 30).prod(), (host[:5] + 30).prod())
            else:
                same(getattr(x, name)(), getattr(host, name)(), 1e-4)


@check
def reductions_along_an_axis():
    x, host = numbers(np.float32, 1200)
    x, host = x.reshape(3, 20, 20), host.reshape(3, 20, 20)
    for axis in (0, 1, 2, (0, 2)):
        same(x.sum(axis=axis), host.sum(axis=axis), 1e-4)
        same(x.max(axis=axis), host.max(axis=axis))


@check
def raw_kernel():
    source = r"""
    extern "C" __global__ void saxpy(int count, float factor, const float *x, float *y) {
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < count) y[i] += factor * x[i];
    }"""
    x, host = numbers()
    y = cp.ones_like(x)
    cp.RawKernel(source, "saxpy")((8,), (128,), (np.int32(1000), np.float32(2.5), x, y))
    same(y, 1 + np.float32(2.5) * host)


@check
def raw_module_with_shared_memory_and_a_constant():
    source = r"""
    extern "C" {
    __constant__ int scale[1];
    __global__ void reverse(int *values) {
        extern __shared__ int tile[];
        tile[threadIdx.x] = values[threadIdx.x] * scale[0];
        __syncthreads();
        values[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
    }
    }"""
    module = cp.RawModule(code=source)
    scale = cp.ndarray(1, cp.int32, module.get_global("scale"))
    scale[:] = 3
    x, host = numbers(np.int32, 256)
    module.get_function("reverse")((1,), (256,), (x,), shared_mem=1024)
    same(x, 3 * host[::-1])


@check
def elementwise_kernel():
    kernel = cp.ElementwiseKernel("T x, T y", "T z", "z = (x - y) * (x - y)", "squared_difference")
    x, host = numbers()
    same(kernel(x, x[::-1]), (host - host[::-1]) ** 2)


@check
def reduction_kernel():
    kernel = cp.ReductionKernel("T x", "T y", "x * x", "a + b", "y = sqrt(a)", "0", "l2norm")
    x, host = numbers(np.float64)
    same(kernel(x), np.sqrt((host * host).sum()))


@check
def fused():
    @cp.fuse()
    def polynomial(x, y):
        return x * x * y + cp.cos(y)

    x, host = numbers()
    same(polynomial(x, x + 1), host * host * (host + 1) + np.cos(host + 1), 1e-4)


@check
def sorts_and_scans():
    x, host = numbers(np.int32)
    same(cp.sort(x), np.sort(host))
    same(cp.argsort(x[:100]), np.argsort(host[:100], kind="stable"))
    same(cp.cumsum(x), np.cumsum(host))
    same(cp.unique(x), np.unique(host))


@check
def shapes_and_indices():
    x, host = numbers(np.int64, 60)
    x, host = x.reshape(5, 12), host.reshape(5, 12)
    same(x.T[::2, 1:4], host.T[::2, 1:4])
    same(cp.concatenate([x, x[::-1]], axis=1), np.concatenate([host, host[::-1]], axis=1))
    same(x[[3, 1], :][:, [0, 5, 5]], host[[3, 1], :][:, [0, 5, 5]])
    same(cp.stack([x, x + 1]).transpose(2, 0, 1), np.stack([host, host + 1]).transpose(2, 0, 1))


@check
def streams_and_events():
    x, host = numbers()
    stream, start, end = cp.cuda.Stream(non_blocking=True), cp.cuda.Event(), cp.cuda.Event()
    start.record(stream)
    with stream:
        y = x * 2
    end.record(stream)
    end.synchronize()
    assert cp.cuda.get_elapsed_time(start, end) >= 0
    same(y, host * 2)


@check
def pinned_and_pool_memory():
    pool = cp.get_default_memory_pool()
    x = cp.zeros(1 << 20, cp.float32)
    assert pool.used_bytes() >= x.nbytes
    host = np.frombuffer(cp.cuda.alloc_pinned_memory(4000), np.float32, 1000)
    host[:] = np.arange(1000)
    x[:1000].set(host)
    same(x[:1000], np.arange(1000))


@check
def managed_memory():
    with cp.cuda.using_allocator(cp.cuda.MemoryPool(cp.cuda.malloc_managed).malloc):
        x = cp.arange(100)
        same(x + 1, np.arange(1, 101))


@check
def graphs():
    stream = cp.cuda.Stream(non_blocking=True)
    x, host = numbers()
    y = cp.zeros_like(x)
    add = cp.ElementwiseKernel("float32 x", "float32 y", "y += x", "accumulate")
    with stream:
        add(x, y)
        stream.begin_capture()
        add(x, y)
        add(x, y)
        graph = stream.end_capture()
        for _ in range(3):
            graph.launch()
    stream.synchronize()
    same(y, 7 * host)


def main():
    passed = failed = 0
    for function in CHECKS:
        try:
            function()
        except Exception:
            failed += 1
            print(f"    {function.__name__}: failed")
            traceback.print_exc()
        else:
            passed += 1
            print(f"    {function.__name__}: as NumPy's", flush=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
