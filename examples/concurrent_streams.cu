// SPDX-License-Identifier: Apache-2.0
//
// Kernels in different streams run at the same time: kernels that spin until another stream's
// kernel releases them, however many they are, and two kernels that hand a number to and fro.

#include "check.h"

#include <vector>

constexpr int SPINNERS = 8;
constexpr int BLOCKS = 4;
constexpr int THREADS = 64;
constexpr int ROUNDS = 20;

// Counts itself in, then waits until somebody opens the gate.
__global__ void wait_for_gate(volatile int *gate, int *arrived, int *passed) {
    if (threadIdx.x == 0) {
        atomicAdd(arrived, 1);
        while (*gate == 0) {
        }
        __threadfence();
        atomicAdd(passed, 1);
    }
}

// Opens the gate when all have arrived.
__global__ void open_gate(volatile int *gate, volatile int *arrived, int expected) {
    while (*arrived < expected) {
    }
    __threadfence();
    *gate = 1;
}

// Two of these, with parity 0 and 1, take turns to count up.
__global__ void take_turns(volatile int *turn, int parity, int rounds) {
    for (int round = 0; round < rounds; ++round) {
        while (*turn % 2 != parity) {
        }
        __threadfence();
        *turn = *turn + 1;
    }
}

__global__ void square(int *values, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] = i * i;
    }
}

// Code is loaded when a kernel is first used, and that may wait for running kernels: load it now.
static void load_all() {
    cudaFuncAttributes attributes;
    CHECK(cudaFuncGetAttributes(&attributes, wait_for_gate));
    CHECK(cudaFuncGetAttributes(&attributes, open_gate));
    CHECK(cudaFuncGetAttributes(&attributes, take_turns));
    CHECK(cudaFuncGetAttributes(&attributes, square));
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Kernels in different streams that wait for each other.");
    load_all();

    int *gate, *arrived, *passed, *turn, *values;
    CHECK(cudaMalloc(&gate, sizeof(int)));
    CHECK(cudaMalloc(&arrived, sizeof(int)));
    CHECK(cudaMalloc(&passed, sizeof(int)));
    CHECK(cudaMalloc(&turn, sizeof(int)));
    CHECK(cudaMalloc(&values, 1000 * sizeof(int)));
    for (int *word : {gate, arrived, passed, turn}) {
        CHECK(cudaMemset(word, 0, sizeof(int)));
    }
    CHECK(cudaDeviceSynchronize());

    std::vector<cudaStream_t> streams(SPINNERS);
    for (cudaStream_t &stream : streams) {
        CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    }
    cudaStream_t other, third;
    CHECK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&third, cudaStreamNonBlocking));
    bool right = true;

    for (cudaStream_t stream : streams) {
        wait_for_gate<<<BLOCKS, THREADS, 0, stream>>>(gate, arrived, passed);
    }
    CHECK_LAUNCH();
    const bool busy = cudaStreamQuery(streams[0]) == cudaErrorNotReady;
    std::printf("%d kernels spin: %s\n", SPINNERS, busy ? "yes" : "no");
    right = right && busy;

    // Unrelated work in another stream is done meanwhile, copies too.
    std::vector<int> host(1000);
    square<<<4, 256, 0, third>>>(values, 1000);
    CHECK(cudaMemcpyAsync(host.data(), values, 1000 * sizeof(int), cudaMemcpyDeviceToHost, third));
    CHECK(cudaStreamSynchronize(third));
    bool squares = true;
    for (int i = 0; i < 1000; ++i) {
        squares = squares && host[i] == i * i;
    }
    const bool still = cudaStreamQuery(streams[SPINNERS - 1]) == cudaErrorNotReady;
    std::printf("a kernel and a copy beside them: %s, and they still spin: %s\n",
                squares ? "right" : "wrong", still ? "yes" : "no");
    right = right && squares && still;

    // One kernel releases them all.
    open_gate<<<1, 1, 0, other>>>(gate, arrived, SPINNERS * BLOCKS);
    CHECK_LAUNCH();
    for (cudaStream_t stream : streams) {
        CHECK(cudaStreamSynchronize(stream));
    }
    int count = 0;
    CHECK(cudaMemcpy(&count, passed, sizeof count, cudaMemcpyDeviceToHost));
    std::printf("blocks that passed the gate: %d\n", count);
    right = right && count == SPINNERS * BLOCKS;

    // Two kernels that need each other, so that none can run before the other has ended.
    take_turns<<<1, 1, 0, streams[0]>>>(turn, 0, ROUNDS);
    take_turns<<<1, 1, 0, streams[1]>>>(turn, 1, ROUNDS);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    int turns = 0;
    CHECK(cudaMemcpy(&turns, turn, sizeof turns, cudaMemcpyDeviceToHost));
    std::printf("turns taken by two kernels: %d\n", turns);
    right = right && turns == 2 * ROUNDS;

    for (cudaStream_t stream : streams) {
        CHECK(cudaStreamDestroy(stream));
    }
    CHECK(cudaStreamDestroy(other));
    CHECK(cudaStreamDestroy(third));
    for (int *word : {gate, arrived, passed, turn, values}) {
        CHECK(cudaFree(word));
    }
    return report("concurrent_streams", right);
}
