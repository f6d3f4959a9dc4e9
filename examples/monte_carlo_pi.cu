// SPDX-License-Identifier: Apache-2.0
//
// Estimates pi by throwing darts at a square and counting those inside the quarter circle.
//
// Every thread has its own random number generator. All of it is integer arithmetic, so the
// count is the same on every device, and the CPU throws exactly the same darts.

#include "check.h"

constexpr int THREADS = 128;
constexpr int DARTS_PER_THREAD = 64;

// PCG: a linear congruential step, then bits mixed by a shift that the state itself chooses.
__host__ __device__ unsigned next_random(unsigned &state) {
    state = state * 747796405u + 2891336453u;
    const unsigned word = ((state >> ((state >> 28) + 4)) ^ state) * 277803737u;
    return (word >> 22) ^ word;
}

// How many of one thread's darts are inside.
__host__ __device__ unsigned throw_darts(unsigned thread) {
    unsigned state = thread;
    unsigned inside = 0;
    for (int i = 0; i < DARTS_PER_THREAD; ++i) {
        const unsigned random = next_random(state);
        const unsigned long long x = random >> 16, y = random & 0xffff;
        inside += x * x + y * y < 65536ull * 65536ull;
    }
    return inside;
}

__global__ void count_inside(unsigned long long *total) {
    unsigned inside = throw_darts(blockIdx.x * THREADS + threadIdx.x);
    for (int step = 16; step > 0; step /= 2) {
        inside += __shfl_down_sync(0xffffffff, inside, step);
    }
    if (threadIdx.x % 32 == 0) {
        atomicAdd(total, static_cast<unsigned long long>(inside));
    }
}

int main(int argc, char **argv) {
    const int blocks =
        size_argument(argc, argv, "Estimates pi by random darts.", "blocks", 200, 1 << 16);
    const unsigned threads = static_cast<unsigned>(blocks) * THREADS;
    const unsigned long long darts = static_cast<unsigned long long>(threads) * DARTS_PER_THREAD;

    unsigned long long *device_total = nullptr, total = 0;
    CHECK(cudaMalloc(&device_total, sizeof(total)));
    CHECK(cudaMemset(device_total, 0, sizeof(total)));
    count_inside<<<blocks, THREADS>>>(device_total);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&total, device_total, sizeof(total), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_total));

    unsigned long long expected = 0;
    for (unsigned thread = 0; thread < threads; ++thread) {
        expected += throw_darts(thread);
    }

    std::printf("%llu darts, %llu inside, expected %llu\n", darts, total, expected);
    const double share = static_cast<double>(total) / static_cast<double>(darts);
    std::printf("pi is about %.4f\n", 4.0 * share);
    return report("monte_carlo_pi", total == expected);
}
