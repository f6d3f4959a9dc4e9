// SPDX-License-Identifier: Apache-2.0
//
// Bitonic sort: short distances in shared memory, long ones in one launch each.

#include "check.h"

#include <algorithm>
#include <vector>

constexpr int TILE = 512;

__device__ void order(unsigned &a, unsigned &b, bool ascending) {
    if ((a > b) == ascending) {
        const unsigned swapped = a;
        a = b;
        b = swapped;
    }
}

// All steps whose partners are in the same tile, from `distance` down; of all sizes up to that of
// the tile, if it is the beginning.
__global__ void steps_in_tile(unsigned *values, unsigned first_size, unsigned last_size) {
    __shared__ unsigned tile[TILE];
    const unsigned start = blockIdx.x * TILE;
    tile[threadIdx.x] = values[start + threadIdx.x];
    tile[threadIdx.x + TILE / 2] = values[start + threadIdx.x + TILE / 2];
    for (unsigned size = first_size; size <= last_size; size *= 2) {
        for (unsigned distance = min(size / 2, TILE / 2); distance > 0; distance /= 2) {
            __syncthreads();
            const unsigned low = 2 * threadIdx.x - (threadIdx.x & (distance - 1));
            order(tile[low], tile[low + distance], ((start + low) & size) == 0);
        }
    }
    __syncthreads();
    values[start + threadIdx.x] = tile[threadIdx.x];
    values[start + threadIdx.x + TILE / 2] = tile[threadIdx.x + TILE / 2];
}

__global__ void step(unsigned *values, unsigned size, unsigned distance) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned low = 2 * i - (i & (distance - 1));
    order(values[low], values[low + distance], (low & size) == 0);
}

int main(int argc, char **argv) {
    const int wanted = size_argument(argc, argv, "Bitonic sort.", "elements", 1 << 13, 1 << 26);
    unsigned count = TILE;
    while (count < static_cast<unsigned>(wanted)) {
        count *= 2;
    }
    std::vector<unsigned> host(count), sorted(count);
    unsigned state = 7;
    for (unsigned &value : host) {
        state = state * 1664525u + 1013904223u;
        value = state ^ state >> 16;
    }
    unsigned *values;
    const size_t bytes = count * sizeof(unsigned);
    CHECK(cudaMalloc(&values, bytes));
    CHECK(cudaMemcpy(values, host.data(), bytes, cudaMemcpyHostToDevice));
    steps_in_tile<<<count / TILE, TILE / 2>>>(values, 2, TILE);
    for (unsigned size = 2 * TILE; size <= count; size *= 2) {
        for (unsigned distance = size / 2; distance > TILE / 2; distance /= 2) {
            step<<<count / TILE, TILE / 2>>>(values, size, distance);
        }
        steps_in_tile<<<count / TILE, TILE / 2>>>(values, size, size);
    }
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(sorted.data(), values, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(values));
    std::sort(host.begin(), host.end());
    std::printf("sorted %u numbers from %u to %u\n", count, sorted.front(), sorted.back());
    return report("bitonic_sort", sorted == host);
}
