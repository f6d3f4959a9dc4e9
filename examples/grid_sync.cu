// SPDX-License-Identifier: Apache-2.0
//
// All blocks of a grid wait for each other: heat spreads along a rod, many steps in one launch.
//
// A cooperative launch promises that all blocks are resident at once, so that `grid.sync()` can
// stand between the steps where otherwise a launch would end.

#include "check.h"

#include <cooperative_groups.h>

#include <vector>

namespace cg = cooperative_groups;

constexpr int STEPS = 40;

__global__ void spread(float *now, float *next, int count) {
    cg::grid_group grid = cg::this_grid();
    for (int step = 0; step < STEPS; ++step) {
        for (int i = grid.thread_rank(); i < count; i += grid.size()) {
            const float left = now[i > 0 ? i - 1 : 0];
            const float right = now[i + 1 < count ? i + 1 : count - 1];
            next[i] = now[i] * 0.5f + (left + right) * 0.25f;
        }
        grid.sync();
        float *other = now;
        now = next;
        next = other;
    }
}

int main(int argc, char **argv) {
    int count = size_argument(argc, argv, "Heat in a rod, with a barrier over the whole grid.",
                              "cells", 5000, 1 << 20);
    int is_possible = 0;
    CHECK(cudaDeviceGetAttribute(&is_possible, cudaDevAttrCooperativeLaunch, 0));
    if (!is_possible) {
        std::fprintf(stderr, "this device has no cooperative launches\n");
        return 1;
    }
    std::vector<float> rod(count);
    for (int i = 0; i < count; ++i)
        rod[i] = i % 97 == 0 ? 64.0f : 0.0f;

    float *now = nullptr;
    float *next = nullptr;
    CHECK(cudaMalloc(&now, count * sizeof(float)));
    CHECK(cudaMalloc(&next, count * sizeof(float)));
    CHECK(cudaMemcpy(now, rod.data(), count * sizeof(float), cudaMemcpyHostToDevice));

    int blocks_each = 0, multiprocessors = 0;
    CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks_each, spread, 128, 0));
    CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
    const int most = blocks_each * multiprocessors;
    std::fprintf(stderr, "%d blocks can be resident\n", most);
    void *arguments[] = {&now, &next, &count};
    CHECK(cudaLaunchCooperativeKernel(spread, dim3(most < 8 ? most : 8), dim3(128), arguments));
    CHECK(cudaDeviceSynchronize());

    // More blocks than the device holds can never all wait for each other.
    const cudaError_t status =
        cudaLaunchCooperativeKernel(spread, dim3(1 << 20), dim3(128), arguments);
    std::printf("a grid of %d blocks: %s\n", 1 << 20, cudaGetErrorName(status));
    cudaGetLastError();

    // An even number of steps leaves the result where the start was.
    std::vector<float> result(count);
    CHECK(cudaMemcpy(result.data(), now, count * sizeof(float), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(now));
    CHECK(cudaFree(next));

    std::vector<float> other(count);
    for (int step = 0; step < STEPS; ++step) {
        for (int i = 0; i < count; ++i) {
            const float left = rod[i > 0 ? i - 1 : 0];
            const float right = rod[i + 1 < count ? i + 1 : count - 1];
            other[i] = rod[i] * 0.5f + (left + right) * 0.25f;
        }
        rod.swap(other);
    }
    int wrong = 0;
    for (int i = 0; i < count; ++i) {
        const float difference = result[i] - rod[i];
        wrong += difference > 1e-4f || difference < -1e-4f;
    }
    std::printf("%d cells after %d steps, %d differ from the CPU's\n", count, STEPS, wrong);
    return report("grid_sync", wrong == 0 && status == cudaErrorCooperativeLaunchTooLarge);
}
