// SPDX-License-Identifier: Apache-2.0
//
// What waits for what: the legacy default stream and blocking streams wait for each other,
// non-blocking streams for nobody, and the per-thread default stream is a blocking stream.

#include "check.h"

__global__ void wait_for(volatile int *gate) {
    while (*gate == 0) {
    }
}

__global__ void set(volatile int *word, int value) {
    *word = value;
}

__global__ void copy_word(volatile int *to, volatile int *from) {
    *to = *from;
}

static int *gate, *word, *seen;
static cudaStream_t opener;

static void close_gate() {
    CHECK(cudaMemsetAsync(gate, 0, sizeof(int), opener));
    CHECK(cudaMemsetAsync(word, 0, sizeof(int), opener));
    CHECK(cudaMemsetAsync(seen, 0xff, sizeof(int), opener));
    CHECK(cudaStreamSynchronize(opener));
}

// Holds `first` by a kernel that spins, gives work to `second`, and asks whether that is done before
// the first one is released. Then the word that `first` writes at its end tells the order.
static bool waits(const char *what, cudaStream_t first, cudaStream_t second, bool expected) {
    close_gate();
    wait_for<<<1, 1, 0, first>>>(gate);
    set<<<1, 1, 0, first>>>(word, 7);
    copy_word<<<1, 1, 0, second>>>(seen, word);
    CHECK_LAUNCH();
    cudaError_t status;
    if (!expected) {
        // It does not wait, so it ends although the first stream is held.
        CHECK(cudaStreamSynchronize(second));
        status = cudaSuccess;
    } else {
        status = cudaStreamQuery(second);
    }
    set<<<1, 1, 0, opener>>>(gate, 1);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    int value = -1;
    CHECK(cudaMemcpy(&value, seen, sizeof value, cudaMemcpyDeviceToHost));
    const bool right = expected ? status == cudaErrorNotReady && value == 7 : value == 0;
    std::printf("%s: %s\n", what, value == 7 ? "waits" : "does not wait");
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Which streams wait for which.");
    cudaFuncAttributes attributes;
    CHECK(cudaFuncGetAttributes(&attributes, wait_for));
    CHECK(cudaFuncGetAttributes(&attributes, set));
    CHECK(cudaFuncGetAttributes(&attributes, copy_word));
    CHECK(cudaMalloc(&gate, sizeof(int)));
    CHECK(cudaMalloc(&word, sizeof(int)));
    CHECK(cudaMalloc(&seen, sizeof(int)));
    cudaStream_t blocking, second_blocking, free_stream;
    CHECK(cudaStreamCreateWithFlags(&opener, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&free_stream, cudaStreamNonBlocking));
    CHECK(cudaStreamCreate(&blocking));
    CHECK(cudaStreamCreate(&second_blocking));

    bool right = true;
    right &= waits("the default stream for a blocking stream", blocking, nullptr, true);
    right &= waits("a blocking stream for the default stream", nullptr, blocking, true);
    right &= waits("a blocking stream for another", blocking, second_blocking, false);
    right &= waits("the default stream for a non-blocking stream", free_stream, nullptr, false);
    right &= waits("a non-blocking stream for the default stream", nullptr, free_stream, false);
    right &= waits("the legacy stream by its name for a blocking stream", blocking,
                   cudaStreamLegacy, true);
    right &= waits("the per-thread stream for the legacy stream", cudaStreamLegacy,
                   cudaStreamPerThread, true);
    right &= waits("the legacy stream for the per-thread stream", cudaStreamPerThread,
                   cudaStreamLegacy, true);
    right &= waits("the per-thread stream for a blocking stream", blocking, cudaStreamPerThread,
                   false);

    for (cudaStream_t stream : {opener, free_stream, blocking, second_blocking}) {
        CHECK(cudaStreamDestroy(stream));
    }
    for (int *place : {gate, word, seen}) {
        CHECK(cudaFree(place));
    }
    return report("default_stream_semantics", right);
}
