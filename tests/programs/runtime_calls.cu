// SPDX-License-Identifier: Apache-2.0
//
// Calls one function of the runtime many times, so that what one call costs can be counted from
// outside: the difference between two runs of different lengths.

#include "../../examples/check.h"

#include <string>

__global__ void nothing(int *) {}

// What is repeated is chosen before, so that choosing is not counted.
template <typename Call>
static void times(int count, Call call) {
    for (int i = 0; i < count; ++i) {
        call();
    }
}

static void repeat(const std::string &what, int count) {
    int *memory = nullptr, host = 1;
    cudaStream_t stream;
    cudaEvent_t event;
    CHECK(cudaMalloc(&memory, 4096));
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    nothing<<<1, 1, 0, stream>>>(memory);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    if (what == "malloc") {
        times(count, [] {
            int *more = nullptr;
            CHECK(cudaMalloc(&more, 4096));
            CHECK(cudaFree(more));
        });
    } else if (what == "copy-to-device") {
        times(count, [&] {
            CHECK(cudaMemcpy(memory, &host, sizeof host, cudaMemcpyHostToDevice));
        });
    } else if (what == "copy-to-host") {
        times(count, [&] {
            CHECK(cudaMemcpy(&host, memory, sizeof host, cudaMemcpyDeviceToHost));
        });
    } else if (what == "launch") {
        times(count, [&] { nothing<<<1, 1, 0, stream>>>(memory); });
    } else if (what == "memset") {
        times(count, [&] { CHECK(cudaMemsetAsync(memory, 0, 4096, stream)); });
    } else if (what == "event") {
        times(count, [&] { CHECK(cudaEventRecord(event, stream)); });
    } else if (what == "last-error") {
        times(count, [] { CHECK(cudaGetLastError()); });
    } else if (what == "device") {
        times(count, [] {
            int device = -1;
            CHECK(cudaGetDevice(&device));
            CHECK(cudaSetDevice(device));
        });
    } else if (what == "synchronize") {
        times(count, [&] { CHECK(cudaStreamSynchronize(stream)); });
    } else {
        std::fprintf(stderr, "there is no %s\n", what.c_str());
        std::exit(2);
    }
    CHECK(cudaDeviceSynchronize());
}

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: %s CALL COUNT\n", argv[0]);
        return 2;
    }
    repeat(argv[1], std::atoi(argv[2]));
    return 0;
}
