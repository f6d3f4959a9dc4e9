// SPDX-License-Identifier: Apache-2.0
//
// Device and host print in turn, thousands of lines: none may be lost, none may change its place.

#include "../../examples/check.h"

__global__ void say(int round, int lines) {
    for (int line = 0; line < lines; ++line) {
        printf("device, round %d, line %d: %s %5.2f %c %llx\n", round, line,
               line % 2 == 0 ? "even" : "odd", line * 0.25, 'a' + line % 26,
               0x123456789abcull * line);
    }
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Prints from host and device in turn.");
    for (int round = 0; round < 40; ++round) {
        std::printf("host, round %d\n", round);
        std::fflush(stdout);
        say<<<1, 1>>>(round, 25 * (round % 4));
        say<<<1, 1>>>(-round, 3);
        CHECK_LAUNCH();
        CHECK(cudaDeviceSynchronize());
    }
    std::fflush(stdout);
    return report("printing", true);
}
