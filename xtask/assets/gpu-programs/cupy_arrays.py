#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CuPy: its own kernels, compiled at run time, and NVIDIA's libraries behind its functions."""
import os

import harness

os.environ.setdefault("CUPY_CACHE_DIR", harness.scratch("cupy"))
cupy, np = harness.need("cupy", "numpy")
try:
    cupy.cuda.runtime.getDeviceCount()
except Exception as error:
    harness.skip("CuPy sees no device: %s" % harness.shorten(error))


def summary(array):
    return harness.summary(cupy.asnumpy(array))


def numbers(*shape, seed=1, dtype=np.float32):
    return cupy.asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


@harness.check(1e-6)
def elementwise():
    x, y = numbers(1 << 18), numbers(1 << 18, seed=2)
    return summary(cupy.tanh(x * y + 0.5) / cupy.sqrt(1 + cupy.abs(x)))


@harness.check(1e-5)
def reductions():
    x = numbers(256, 512)
    return summary(x.sum(axis=0)) + summary(x.max(axis=1)) + [float(x.mean()), float(x.std())]


@harness.check(0)
def sorting_and_scans():
    x = cupy.asarray((np.arange(10000) * 7919 % 10007).astype(np.int32))
    return summary(cupy.sort(x)) + summary(cupy.argsort(x)) + summary(cupy.cumsum(x))


@harness.check(0)
def a_raw_kernel():
    kernel = cupy.RawKernel(r"""
    extern "C" __global__ void reverse(const float *from, float *to) {
        extern __shared__ float tile[];
        tile[threadIdx.x] = from[blockIdx.x * blockDim.x + threadIdx.x];
        __syncthreads();
        to[blockIdx.x * blockDim.x + threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x] * 2;
    }""", "reverse")
    x = numbers(1 << 14)
    y = cupy.zeros_like(x)
    kernel((64,), (256,), (x, y), shared_mem=1024)
    return summary(y)


@harness.check(1e-6)
def a_fused_function():
    @cupy.fuse()
    def polynomial(x, y):
        return x * x * y + cupy.cos(y)

    return summary(polynomial(numbers(10000), numbers(10000, seed=2)))


@harness.check(0)
def streams_and_pinned_memory():
    stream = cupy.cuda.Stream(non_blocking=True)
    x = numbers(1 << 16)
    cupy.cuda.Device().synchronize()
    with stream:
        y = x * 2
        host = y.get(stream=stream)
    stream.synchronize()
    return harness.summary(host)


@harness.check(1e-4)
def matrix_product():
    return summary(numbers(512, 512) @ numbers(512, 512, seed=2))


@harness.check(1e-4)
def fourier_transform():
    return summary(cupy.abs(cupy.fft.fft(numbers(16, 1024))))


@harness.check(0)
def random_numbers():
    generator = cupy.random.RandomState(3)
    return summary(generator.random_sample(10000)) + summary(generator.randint(0, 100, 1000))


@harness.check(1e-4)
def linear_algebra():
    x = numbers(64, 64)
    return summary(cupy.linalg.inv(x @ x.T + 64 * cupy.eye(64, dtype=np.float32)))


@harness.check(1e-4)
def sparse_product():
    sparse = harness.need("cupyx.scipy.sparse")
    dense = numbers(256, 256)
    matrix = sparse.csr_matrix(cupy.where(dense > 1, dense, 0))
    return summary(matrix @ numbers(256, 8, seed=2))


if __name__ == "__main__":
    harness.main(package="cupy " + cupy.__version__,
                 cuda=str(cupy.cuda.runtime.runtimeGetVersion()),
                 device=cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())
