// SPDX-License-Identifier: Apache-2.0
//
// Several threads of one program use the device at the same time, each in its own default stream,
// cudaStreamPerThread.
//
// They share one context: one allocates what all write to, and the work of each is ordered only
// within its own stream.

#include "check.h"

#include <thread>
#include <vector>

constexpr int HOST_THREADS = 4;
constexpr int STEPS = 8;
constexpr int THREADS = 256;

__global__ void step(unsigned *values, int count, unsigned addend, unsigned *steps_done) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] = 3 * values[i] + addend;
    }
    if (i == 0) {
        atomicAdd(steps_done, 1u);
    }
}

// What one thread does; `*wrong` is the number of its results that differ from the CPU's.
static void work(unsigned number, int count, unsigned *steps_done, int *wrong) {
    const size_t bytes = count * sizeof(unsigned);
    std::vector<unsigned> values(count);
    for (int i = 0; i < count; ++i) {
        values[i] = i + number;
    }
    unsigned *device_values = nullptr;
    CHECK(cudaMalloc(&device_values, bytes));
    CHECK(cudaMemcpyAsync(device_values, values.data(), bytes, cudaMemcpyHostToDevice,
                          cudaStreamPerThread));
    for (int k = 0; k < STEPS; ++k) {
        step<<<(count + THREADS - 1) / THREADS, THREADS, 0, cudaStreamPerThread>>>(
            device_values, count, number, steps_done);
        CHECK_LAUNCH();
    }
    CHECK(cudaMemcpyAsync(values.data(), device_values, bytes, cudaMemcpyDeviceToHost,
                          cudaStreamPerThread));
    CHECK(cudaStreamSynchronize(cudaStreamPerThread));
    CHECK(cudaFree(device_values));

    for (int i = 0; i < count; ++i) {
        unsigned expected = i + number;
        for (int k = 0; k < STEPS; ++k) {
            expected = 3 * expected + number;
        }
        *wrong += values[i] != expected;
    }
}

int main(int argc, char **argv) {
    const int count = size_argument(argc, argv, "Several host threads, each with its own stream.",
                                    "elements a thread", 50000, 1 << 26);
    unsigned *steps_done = nullptr;
    CHECK(cudaMalloc(&steps_done, sizeof(unsigned)));
    CHECK(cudaMemset(steps_done, 0, sizeof(unsigned)));
    // The other streams do not wait for this one.
    CHECK(cudaDeviceSynchronize());

    int wrong[HOST_THREADS] = {};
    std::vector<std::thread> threads;
    for (int number = 0; number < HOST_THREADS; ++number) {
        threads.emplace_back(work, number, count, steps_done, &wrong[number]);
    }
    for (std::thread &thread : threads) {
        thread.join();
    }

    unsigned steps = 0;
    CHECK(cudaMemcpy(&steps, steps_done, sizeof(steps), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(steps_done));
    bool right = steps == HOST_THREADS * STEPS;
    for (int number = 0; number < HOST_THREADS; ++number) {
        std::printf("thread %d: %d of %d results wrong\n", number, wrong[number], count);
        right = right && wrong[number] == 0;
    }
    std::printf("kernels that all threads together ran: %u\n", steps);
    return report("per_thread_stream", right);
}
