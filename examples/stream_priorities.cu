// SPDX-License-Identifier: Apache-2.0
//
// Stream priorities: their range, what becomes of numbers outside it, and the same results from
// urgent and from patient streams.

#include "check.h"

#include <vector>

constexpr int COUNT = 1 << 14;
constexpr int THREADS = 256;

__global__ void accumulate(unsigned *sums, unsigned seed, int rounds) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned value = seed + i;
    for (int round = 0; round < rounds; ++round) {
        value = value * 1664525u + 1013904223u;
    }
    sums[i] = value;
}

static unsigned expected(unsigned seed, int i, int rounds) {
    unsigned value = seed + i;
    for (int round = 0; round < rounds; ++round) {
        value = value * 1664525u + 1013904223u;
    }
    return value;
}

static bool priority_is(cudaStream_t stream, int expected) {
    int priority = 12345;
    CHECK(cudaStreamGetPriority(stream, &priority));
    return priority == expected;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Streams of different priorities.");
    int least = 0, greatest = 0;
    CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    std::fprintf(stderr, "priorities from %d (least) to %d (greatest)\n", least, greatest);
    // Smaller numbers are more urgent; the default is the least.
    bool right = least == 0 && greatest < least;
    std::printf("least priority is 0 and greatest is below: %s\n", right ? "yes" : "no");

    cudaStream_t patient, urgent, above, below, plain;
    const unsigned flags = cudaStreamNonBlocking;
    CHECK(cudaStreamCreateWithPriority(&patient, flags, least));
    CHECK(cudaStreamCreateWithPriority(&urgent, flags, greatest));
    CHECK(cudaStreamCreateWithPriority(&above, flags, greatest - 100));
    CHECK(cudaStreamCreateWithPriority(&below, flags, least + 100));
    CHECK(cudaStreamCreate(&plain));
    const bool priorities = priority_is(patient, least) && priority_is(urgent, greatest) &&
                            priority_is(above, greatest) && priority_is(below, least) &&
                            priority_is(plain, 0) && priority_is(nullptr, 0);
    std::printf("priorities are kept, and cut to the range: %s\n", priorities ? "yes" : "no");
    right = right && priorities;

    unsigned int kept = 0;
    CHECK(cudaStreamGetFlags(urgent, &kept));
    std::printf("flags are kept: %s\n", kept == flags ? "yes" : "no");
    right = right && kept == flags;

    // Long work in the patient stream, short work in the urgent one.
    unsigned *slow, *quick;
    CHECK(cudaMalloc(&slow, COUNT * sizeof(unsigned)));
    CHECK(cudaMalloc(&quick, COUNT * sizeof(unsigned)));
    accumulate<<<COUNT / THREADS, THREADS, 0, patient>>>(slow, 1, 200);
    accumulate<<<COUNT / THREADS, THREADS, 0, urgent>>>(quick, 2, 10);
    CHECK_LAUNCH();
    std::vector<unsigned> host(COUNT);
    const size_t bytes = COUNT * sizeof(unsigned);
    CHECK(cudaMemcpyAsync(host.data(), quick, bytes, cudaMemcpyDeviceToHost, urgent));
    CHECK(cudaStreamSynchronize(urgent));
    bool sums = true;
    for (int i = 0; i < COUNT; ++i) {
        sums = sums && host[i] == expected(2, i, 10);
    }
    CHECK(cudaMemcpyAsync(host.data(), slow, bytes, cudaMemcpyDeviceToHost, patient));
    CHECK(cudaStreamSynchronize(patient));
    for (int i = 0; i < COUNT; ++i) {
        sums = sums && host[i] == expected(1, i, 200);
    }
    std::printf("results of both streams: %s\n", sums ? "right" : "wrong");
    right = right && sums;

    for (cudaStream_t stream : {patient, urgent, above, below, plain}) {
        CHECK(cudaStreamDestroy(stream));
    }
    CHECK(cudaFree(slow));
    CHECK(cudaFree(quick));
    return report("stream_priorities", right);
}
