// SPDX-License-Identifier: Apache-2.0
//
// A prefix sum in one pass (Merrill and Garland, "Single-pass Parallel Prefix Scan with Decoupled
// Look-back"): blocks publish their sums and look back at those of the blocks before them.

#include "check.h"

#include <vector>

constexpr int THREADS = 256;

// In the upper half what is known of a tile, in the lower half a sum.
constexpr unsigned long long NOTHING = 0, OWN = 1ull << 32, INCLUSIVE = 2ull << 32;

__global__ void scan(const unsigned *values, unsigned *sums, int count, unsigned *ticket,
                     unsigned long long *tiles) {
    __shared__ unsigned shared_tile, before, partial[THREADS / 32];
    // Tiles in the order in which blocks begin, so that each waits for blocks that have begun.
    if (threadIdx.x == 0) {
        shared_tile = atomicAdd(ticket, 1);
    }
    __syncthreads();
    const unsigned tile = shared_tile;
    const int i = tile * THREADS + threadIdx.x;
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;

    unsigned sum = i < count ? values[i] : 0;
    for (int distance = 1; distance < 32; distance *= 2) {
        const unsigned left = __shfl_up_sync(0xffffffff, sum, distance);
        sum += lane >= distance ? left : 0;
    }
    if (lane == 31) {
        partial[warp] = sum;
    }
    __syncthreads();
    for (int w = 0; w < THREADS / 32; ++w) {
        sum += w < warp ? partial[w] : 0;
    }
    if (threadIdx.x == THREADS - 1) {
        volatile unsigned long long *published = tiles;
        published[tile] = (tile == 0 ? INCLUSIVE : OWN) | sum;
        unsigned running = 0;
        for (int other = static_cast<int>(tile) - 1; other >= 0; --other) {
            unsigned long long state;
            do {
                state = published[other];
            } while (state >> 32 == NOTHING);
            running += static_cast<unsigned>(state);
            if (state >> 32 == INCLUSIVE >> 32) {
                break;
            }
        }
        published[tile] = INCLUSIVE | (running + sum);
        before = running;
    }
    __syncthreads();
    if (i < count) {
        sums[i] = before + sum;
    }
}

int main(int argc, char **argv) {
    const int count =
        size_argument(argc, argv, "A prefix sum in one pass.", "elements", 20000, 1 << 26);
    std::vector<unsigned> host(count), result(count);
    for (int i = 0; i < count; ++i) {
        host[i] = i * 2654435761u >> 20;
    }
    const int tiles = (count + THREADS - 1) / THREADS;
    unsigned *values, *sums, *ticket;
    unsigned long long *states;
    const size_t bytes = count * sizeof(unsigned);
    CHECK(cudaMalloc(&values, bytes));
    CHECK(cudaMalloc(&sums, bytes));
    CHECK(cudaMalloc(&ticket, sizeof(unsigned)));
    CHECK(cudaMalloc(&states, tiles * sizeof(unsigned long long)));
    CHECK(cudaMemset(ticket, 0, sizeof(unsigned)));
    CHECK(cudaMemset(states, 0, tiles * sizeof(unsigned long long)));
    CHECK(cudaMemcpy(values, host.data(), bytes, cudaMemcpyHostToDevice));
    scan<<<tiles, THREADS>>>(values, sums, count, ticket, states);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(result.data(), sums, bytes, cudaMemcpyDeviceToHost));
    bool right = true;
    unsigned sum = 0;
    for (int i = 0; i < count; ++i) {
        sum += host[i];
        right = right && result[i] == sum;
    }
    std::printf("the sum of %d numbers in one pass: %u\n", count, result[count - 1]);
    CHECK(cudaFree(values));
    CHECK(cudaFree(sums));
    CHECK(cudaFree(ticket));
    CHECK(cudaFree(states));
    return report("decoupled_lookback_scan", right);
}
