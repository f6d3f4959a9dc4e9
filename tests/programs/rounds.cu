// SPDX-License-Identifier: Apache-2.0
//
// Computes for some seconds, round after round, and says so after the first: whoever waits for
// that line can do something to a program that uses its device.

#include "../../examples/check.h"

#include <chrono>

__global__ void next(unsigned *value) {
    *value = *value * 1664525u + 1013904223u;
}

int main(int argc, char **argv) {
    const int seconds = size_argument(argc, argv, "Computes for a while.", "seconds", 1, 3600);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    unsigned *device = nullptr, expected = 0, value = 0;
    bool right = true;
    CHECK(cudaMalloc(&device, sizeof(value)));
    CHECK(cudaMemset(device, 0, sizeof(value)));
    for (int round = 1; right && (round == 1 || std::chrono::steady_clock::now() < end); ++round) {
        next<<<1, 1>>>(device);
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(&value, device, sizeof(value), cudaMemcpyDeviceToHost));
        expected = expected * 1664525u + 1013904223u;
        right = value == expected;
        if (round == 1) {
            std::printf("the first round is done\n");
            std::fflush(stdout);
        }
    }
    CHECK(cudaFree(device));
    return report("rounds", right);
}
