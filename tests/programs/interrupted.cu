// SPDX-License-Identifier: Apache-2.0
//
// A timer interrupts the program's system calls a thousand times a second, as profilers and
// language runtimes do, and none of the calls may fail or lose a byte.

#include "../../examples/check.h"

#include <csignal>
#include <sys/time.h>

#include <vector>

static volatile sig_atomic_t interruptions = 0;

static void count_interruption(int) {
    interruptions = interruptions + 1;
}

__global__ void add_one(unsigned *values, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] += 1;
    }
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Uses the device while a timer interrupts everything.");
    struct sigaction action = {};
    action.sa_handler = count_interruption;
    sigaction(SIGALRM, &action, nullptr); // No SA_RESTART: calls are really interrupted.
    const itimerval often = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &often, nullptr);

    const int count = 500000;
    const size_t bytes = count * sizeof(unsigned);
    std::vector<unsigned> host(count);
    unsigned *device = nullptr;
    CHECK(cudaMalloc(&device, bytes));
    bool right = true;
    for (unsigned round = 0; round < 200 && right; ++round) {
        for (int i = 0; i < count; ++i) {
            host[i] = round + i;
        }
        CHECK(cudaMemcpy(device, host.data(), bytes, cudaMemcpyHostToDevice));
        add_one<<<(count + 255) / 256, 256>>>(device, count);
        CHECK_LAUNCH();
        CHECK(cudaDeviceSynchronize());
        CHECK(cudaMemcpy(host.data(), device, bytes, cudaMemcpyDeviceToHost));
        for (int i = 0; i < count; ++i) {
            right = right && host[i] == round + i + 1;
        }
    }
    CHECK(cudaFree(device));
    const itimerval never = {};
    setitimer(ITIMER_REAL, &never, nullptr);
    std::printf("interrupted: %s\n", interruptions > 50 ? "often" : "hardly ever");
    return report("interrupted", right);
}
