#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""numba: kernels written in Python, compiled to PTX at run time."""
import math

import harness

numba, np = harness.need("numba", "numpy")
cuda = harness.need("numba.cuda")
if not cuda.is_available():
    harness.skip("numba sees no device")
cuda.current_context()


def numbers(count, seed=1):
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


@cuda.jit
def saxpy(factor, x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] += factor * x[i]


@cuda.jit
def block_sums(x, sums):
    tile = cuda.shared.array(128, numba.float32)
    i = cuda.grid(1)
    tile[cuda.threadIdx.x] = x[i] if i < x.size else 0
    cuda.syncthreads()
    step = 64
    while step > 0:
        if cuda.threadIdx.x < step:
            tile[cuda.threadIdx.x] += tile[cuda.threadIdx.x + step]
        cuda.syncthreads()
        step //= 2
    if cuda.threadIdx.x == 0:
        sums[cuda.blockIdx.x] = tile[0]


@cuda.jit
def histogram(x, bins):
    i = cuda.grid(1)
    if i < x.size:
        cuda.atomic.add(bins, x[i], 1)


@cuda.jit
def escape_times(width, height, out):
    column, row = cuda.grid(2)
    if column < width and row < height:
        c = complex(-2 + 3 * column / width, -1.5 + 3 * row / height)
        z, count = complex(0, 0), 0
        while count < 50 and z.real * z.real + z.imag * z.imag < 4:
            z = z * z + c
            count += 1
        out[row, column] = count


@harness.check(1e-6)
def a_kernel():
    x, y = cuda.to_device(numbers(1 << 16)), cuda.to_device(numbers(1 << 16, seed=2))
    saxpy[256, 256](np.float32(2.5), x, y)
    return harness.summary(y.copy_to_host())


@harness.check(1e-6)
def shared_memory():
    x, sums = cuda.to_device(numbers(1 << 14)), cuda.device_array(128, np.float32)
    block_sums[128, 128](x, sums)
    return harness.summary(sums.copy_to_host())


@harness.check(0)
def atomic_operations():
    values = cuda.to_device((np.arange(1 << 15) * 7919 % 64).astype(np.int32))
    bins = cuda.to_device(np.zeros(64, np.int32))
    histogram[128, 256](values, bins)
    return bins.copy_to_host()


@harness.check(0)
def two_dimensions():
    out = cuda.device_array((128, 192), np.int32)
    escape_times[(12, 8), (16, 16)](192, 128, out)
    return harness.summary(out.copy_to_host())


@harness.check(1e-6)
def a_universal_function():
    @numba.vectorize(["float32(float32, float32)"], target="cuda")
    def blend(x, y):
        return math.sin(x) * y + math.exp(-y * y)

    return harness.summary(blend(numbers(1 << 14), numbers(1 << 14, seed=2)))


@harness.check(0)
def streams_and_pinned_memory():
    stream, host = cuda.stream(), cuda.pinned_array(1 << 14, np.float32)
    host[:] = numbers(1 << 14)
    y = cuda.to_device(np.zeros(1 << 14, np.float32), stream=stream)
    x = cuda.to_device(host, stream=stream)
    saxpy[64, 256, stream](np.float32(3), x, y)
    back = y.copy_to_host(stream=stream)
    stream.synchronize()
    return harness.summary(back)


if __name__ == "__main__":
    name = cuda.get_current_device().name
    harness.main(package="numba " + numba.__version__,
                 device=name.decode() if isinstance(name, bytes) else str(name))
