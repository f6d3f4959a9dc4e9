// SPDX-License-Identifier: Apache-2.0
//
// Ways to wait: barriers that count or vote, named barriers between producers and consumers,
// `cuda::barrier` with a split arrival, and a barrier that threads drop out of.
// nvcc: -arch=sm_80 -std=c++17

#include "check.h"

// The barriers in shared memory are made by init(), not by a constructor.
#pragma nv_diag_suppress static_var_with_dynamic_init

#include <cuda/barrier>

#include <utility>

constexpr int THREADS = 128;

__global__ void votes(int *results) {
    const int i = threadIdx.x;
    const int odd_multiples = __syncthreads_count(i % 2 == 1 && i % 3 == 0);
    const int all_small = __syncthreads_and(i < THREADS);
    const int all_large = __syncthreads_and(i > 0);
    const int any_last = __syncthreads_or(i == THREADS - 1);
    const int any_beyond = __syncthreads_or(i >= THREADS);
    if (i == 77) {
        results[0] = odd_multiples;
        results[1] = all_small != 0;
        results[2] = all_large != 0;
        results[3] = any_last != 0;
        results[4] = any_beyond != 0;
    }
}

// The first half of the block makes values, the second half uses them; two buffers, and for each
// one barrier that says it is full and one that says it is empty.
__global__ void producers_and_consumers(int *sums, int rounds) {
    __shared__ int buffers[2][THREADS / 2];
    const bool is_producer = threadIdx.x < THREADS / 2;
    const int i = threadIdx.x % (THREADS / 2);
    if (is_producer) {
        for (int round = 0; round < rounds; ++round) {
            const int buffer = round % 2;
            if (round >= 2)
                asm volatile("bar.sync %0, %1;" ::"r"(3 + buffer), "n"(THREADS) : "memory");
            buffers[buffer][i] = round * 1000 + i;
            __threadfence_block();
            asm volatile("bar.arrive %0, %1;" ::"r"(1 + buffer), "n"(THREADS) : "memory");
        }
    } else {
        int sum = 0;
        for (int round = 0; round < rounds; ++round) {
            const int buffer = round % 2;
            asm volatile("bar.sync %0, %1;" ::"r"(1 + buffer), "n"(THREADS) : "memory");
            sum += buffers[buffer][THREADS / 2 - 1 - i];
            if (round + 2 < rounds)
                asm volatile("bar.arrive %0, %1;" ::"r"(3 + buffer), "n"(THREADS) : "memory");
        }
        sums[i] = sum;
    }
}

__global__ void split_arrival(int *results) {
    using barrier = cuda::barrier<cuda::thread_scope_block>;
    __shared__ barrier meeting;
    __shared__ int values[THREADS];
    if (threadIdx.x == 0)
        init(&meeting, THREADS);
    __syncthreads();
    int sum = 0;
    for (int round = 1; round <= 4; ++round) {
        values[threadIdx.x] = round * threadIdx.x;
        auto token = meeting.arrive();
        // Work that needs nobody else's value.
        const int own = round;
        meeting.wait(std::move(token));
        sum += own + values[(threadIdx.x + round) % THREADS];
        meeting.arrive_and_wait();
    }
    results[threadIdx.x] = sum;
}

// After round r only the threads from 32 * r on are left.
__global__ void dropping_out(int *count) {
    using barrier = cuda::barrier<cuda::thread_scope_block>;
    __shared__ barrier meeting;
    __shared__ int rounds_seen;
    if (threadIdx.x == 0) {
        init(&meeting, THREADS);
        rounds_seen = 0;
    }
    __syncthreads();
    for (int round = 0; round < THREADS / 32; ++round) {
        if (threadIdx.x / 32 == round) {
            atomicAdd(&rounds_seen, 1);
            meeting.arrive_and_drop();
            return;
        }
        meeting.arrive_and_wait();
        if (threadIdx.x == THREADS - 1)
            count[round] = *(volatile int *)&rounds_seen;
    }
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Barriers of a block.");
    int *device = nullptr;
    int host[THREADS];
    CHECK(cudaMalloc(&device, sizeof(host)));
    auto fetch = [&] {
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(host, device, sizeof(host), cudaMemcpyDeviceToHost));
    };
    bool right = true;

    votes<<<1, THREADS>>>(device);
    fetch();
    std::printf("votes: %d %d %d %d %d\n", host[0], host[1], host[2], host[3], host[4]);
    right = right && host[0] == 21 && host[1] == 1 && host[2] == 0 && host[3] == 1 && host[4] == 0;

    const int rounds = 7;
    producers_and_consumers<<<1, THREADS>>>(device, rounds);
    fetch();
    int wrong = 0;
    for (int i = 0; i < THREADS / 2; ++i)
        wrong += host[i] != 1000 * (rounds * (rounds - 1) / 2) + rounds * (THREADS / 2 - 1 - i);
    std::printf("named barriers: %d sums differ\n", wrong);
    right = right && wrong == 0;

    split_arrival<<<1, THREADS>>>(device);
    fetch();
    wrong = 0;
    for (int i = 0; i < THREADS; ++i) {
        int sum = 0;
        for (int round = 1; round <= 4; ++round)
            sum += round + round * ((i + round) % THREADS);
        wrong += host[i] != sum;
    }
    std::printf("split arrival: %d sums differ\n", wrong);
    right = right && wrong == 0;

    dropping_out<<<1, THREADS>>>(device);
    fetch();
    std::printf("dropped out after each round: %d %d %d\n", host[0], host[1], host[2]);
    right = right && host[0] == 32 && host[1] == 64 && host[2] == 96;
    CHECK(cudaFree(device));
    return report("barriers", right);
}
