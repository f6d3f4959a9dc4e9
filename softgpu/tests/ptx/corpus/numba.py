# SPDX-License-Identifier: Apache-2.0
"""Makes the numba-*.ptx files of this folder: python numba.py FOLDER (numba-cuda, no GPU)."""

import math
import sys

from numba import cuda, float32, float64, int32, types


def mm(a, b, c):
    s = cuda.shared.array((16, 16), float32)
    t = cuda.shared.array((16, 16), float32)
    x, y = cuda.grid(2)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    acc = float32(0)
    for k in range(a.shape[1] // 16):
        s[tx, ty] = a[x, ty + k * 16]
        t[tx, ty] = b[tx + k * 16, y]
        cuda.syncthreads()
        for j in range(16):
            acc += s[tx, j] * t[j, ty]
        cuda.syncthreads()
    c[x, y] = acc


def atom(x, y):
    i = cuda.grid(1)
    cuda.atomic.add(x, 0, y[i])
    cuda.atomic.max(x, 1, y[i])
    loc = cuda.local.array(10, int32)
    loc[i % 10] = i
    y[i] = math.sin(y[i]) + math.exp(x[i]) + loc[(i * 3) % 10]
    y[i + 1] = cuda.shfl_down_sync(-1, i, 3)
    if y[i] > 3:
        print("hi", i, y[i])
    y[i] //= x[i + 1]


def emit(name, function, signature, cc, **options):
    text, _ = cuda.compile(function, signature, cc=cc, device=False, output="ptx", **options)
    with open(f"{sys.argv[1]}/numba-{name}.{cc[0]}{cc[1]}.ptx", "w") as file:
        file.write(text if isinstance(text, str) else text.decode())


emit("mm", mm, types.void(*[float32[:, :]] * 3), (8, 0))
emit("atom", atom, types.void(float64[:], float64[:]), (7, 5))
emit("atomdbg", atom, types.void(float64[:], float64[:]), (8, 0), debug=True, opt=False)
