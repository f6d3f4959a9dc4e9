// SPDX-License-Identifier: Apache-2.0
//
// The heat equation in three dimensions, by a stencil of seven points that walks through the
// planes, in doubles: the same numbers as the CPU's.

#include "check.h"

#include <vector>

constexpr int SIDE = 24;
constexpr int CELLS = SIDE * SIDE * SIDE;

__host__ __device__ double next(double centre, double west, double east, double south,
                                double north, double below, double above) {
    // Without fused operations, so that all round alike.
    const double sum = ((west + east) + (south + north)) + (below + above);
#ifdef __CUDA_ARCH__
    return __dadd_rn(centre, __dmul_rn(0.125, __dadd_rn(sum, __dmul_rn(-6.0, centre))));
#else
    volatile double six = -6.0 * centre, difference = sum + six, scaled = 0.125 * difference;
    return centre + scaled;
#endif
}

// Borders keep their temperature.
__global__ void step(const double *before, double *after) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= SIDE || y >= SIDE) {
        return;
    }
    const bool is_border = x == 0 || y == 0 || x == SIDE - 1 || y == SIDE - 1;
    int i = y * SIDE + x;
    double below = before[i], centre = below, above = before[i];
    after[i] = centre;
    centre = before[i + SIDE * SIDE];
    for (int z = 1; z < SIDE - 1; ++z) {
        i += SIDE * SIDE;
        above = before[i + SIDE * SIDE];
        after[i] = is_border ? centre
                             : next(centre, before[i - 1], before[i + 1], before[i - SIDE],
                                    before[i + SIDE], below, above);
        below = centre;
        centre = above;
    }
    after[i + SIDE * SIDE] = above;
}

static void step_on_host(const std::vector<double> &before, std::vector<double> &after) {
    after = before;
    for (int z = 1; z < SIDE - 1; ++z) {
        for (int y = 1; y < SIDE - 1; ++y) {
            for (int x = 1; x < SIDE - 1; ++x) {
                const int i = (z * SIDE + y) * SIDE + x;
                after[i] = next(before[i], before[i - 1], before[i + 1], before[i - SIDE],
                                before[i + SIDE], before[i - SIDE * SIDE],
                                before[i + SIDE * SIDE]);
            }
        }
    }
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "The heat equation in three dimensions.");
    constexpr int STEPS = 20;
    std::vector<double> host(CELLS), other(CELLS), result(CELLS);
    for (int i = 0; i < SIDE * SIDE; ++i) {
        host[i] = 100;
    }
    double *before, *after;
    const size_t bytes = CELLS * sizeof(double);
    CHECK(cudaMalloc(&before, bytes));
    CHECK(cudaMalloc(&after, bytes));
    CHECK(cudaMemcpy(before, host.data(), bytes, cudaMemcpyHostToDevice));
    const dim3 threads(8, 8), blocks((SIDE + 7) / 8, (SIDE + 7) / 8);
    for (int i = 0; i < STEPS; ++i) {
        step<<<blocks, threads>>>(before, after);
        std::swap(before, after);
        step_on_host(host, other);
        std::swap(host, other);
    }
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(result.data(), before, bytes, cudaMemcpyDeviceToHost));
    std::printf("after %d steps: %.6f degrees next to the warm side, %.6f in the middle\n", STEPS,
                result[(SIDE + SIDE / 2) * SIDE + SIDE / 2], result[CELLS / 2 + SIDE / 2]);
    CHECK(cudaFree(before));
    CHECK(cudaFree(after));
    return report("heat_equation", result == host);
}
