// SPDX-License-Identifier: Apache-2.0
//
// How CUDA reports mistakes. Each call returns its code; a launch leaves one to be asked for.
//
// The last error is kept until cudaGetLastError takes it. None of these mistakes is sticky: the
// program goes on, and a correct launch works at the end.

#include "check.h"

#include <vector>

__global__ void store(int *target, int value) {
    *target = value;
}

static int not_on_the_device = 0;

static void not_a_kernel() {}

// Whether the error is the expected one, is kept as the last error, and is then gone.
static bool expect(const char *mistake, cudaError_t status, cudaError_t expected) {
    std::printf("  %s: %s\n", mistake, cudaGetErrorName(status));
    const bool kept = cudaPeekAtLastError() == status && cudaPeekAtLastError() == status;
    const bool taken = cudaGetLastError() == status;
    const bool gone = cudaGetLastError() == cudaSuccess;
    if (status != expected || !kept || !taken || !gone) {
        std::printf("    expected %s; kept: %d, taken: %d, gone: %d\n", cudaGetErrorName(expected),
                    kept, taken, gone);
        return false;
    }
    return true;
}

static bool bad_launches(int *target) {
    std::printf("launches\n");
    store<<<1, 4096>>>(target, 1);
    bool right = expect("too many threads in a block", cudaPeekAtLastError(),
                        cudaErrorInvalidConfiguration);
    store<<<1, 0>>>(target, 1);
    right = expect("no threads in a block", cudaPeekAtLastError(),
                   cudaErrorInvalidConfiguration) && right;
    store<<<0, 32>>>(target, 1);
    right = expect("no blocks", cudaPeekAtLastError(), cudaErrorInvalidConfiguration) && right;
    store<<<dim3(1, 1 << 20), 32>>>(target, 1);
    right = expect("too many blocks in a column", cudaPeekAtLastError(),
                   cudaErrorInvalidConfiguration) && right;
    store<<<1, 32, 1 << 20>>>(target, 1);
    right = expect("too much shared memory", cudaPeekAtLastError(), cudaErrorInvalidValue) && right;
    return right;
}

static bool bad_memory_calls(int *target) {
    int on_host = 0;
    void *pointer = nullptr;
    std::printf("memory\n");
    bool right = expect("more memory than any device has", cudaMalloc(&pointer, size_t{1} << 50),
                        cudaErrorMemoryAllocation);
    right = expect("nowhere to put the address", cudaMalloc(static_cast<void **>(nullptr), 4),
                   cudaErrorInvalidValue) && right;
    right = expect("a copy to a null pointer",
                   cudaMemcpy(nullptr, &on_host, 4, cudaMemcpyHostToDevice),
                   cudaErrorInvalidValue) && right;
    right = expect("a copy in no known direction",
                   cudaMemcpy(target, &on_host, 4, static_cast<cudaMemcpyKind>(17)),
                   cudaErrorInvalidMemcpyDirection) && right;
    right = expect("freeing what is on the host's stack", cudaFree(&on_host),
                   cudaErrorInvalidValue) && right;
    CHECK(cudaMalloc(&pointer, 4));
    CHECK(cudaFree(pointer));
    right = expect("freeing twice", cudaFree(pointer), cudaErrorInvalidValue) && right;
    right = expect("unregistering what was never registered", cudaHostUnregister(&on_host),
                   cudaErrorHostMemoryNotRegistered) && right;
    return right;
}

static bool bad_names() {
    int value = 1;
    cudaFuncAttributes attributes = {};
    std::printf("devices and symbols\n");
    bool right = expect("a device that is not there", cudaSetDevice(9999), cudaErrorInvalidDevice);
    right = expect("a symbol that is not on the device",
                   cudaMemcpyToSymbol(not_on_the_device, &value, sizeof(value)),
                   cudaErrorInvalidSymbol) && right;
    right = expect("a function that is no kernel",
                   cudaFuncGetAttributes(&attributes, not_a_kernel),
                   cudaErrorInvalidDeviceFunction) && right;
    return right;
}

static bool bad_events() {
    cudaEvent_t start = nullptr, stop = nullptr;
    float elapsed_ms = 0;
    std::printf("events\n");
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreateWithFlags(&stop, cudaEventDisableTiming));
    bool right = expect("the time between events that nobody recorded",
                        cudaEventElapsedTime(&elapsed_ms, start, start),
                        cudaErrorInvalidResourceHandle);
    CHECK(cudaEventRecord(start));
    CHECK(cudaEventRecord(stop));
    CHECK(cudaEventSynchronize(stop));
    right = expect("the time of an event that takes none",
                   cudaEventElapsedTime(&elapsed_ms, start, stop),
                   cudaErrorInvalidResourceHandle) && right;
    CHECK(cudaEventDestroy(start));
    CHECK(cudaEventDestroy(stop));
    return right;
}

static bool still_works(int *target) {
    int value = 0;
    store<<<1, 1>>>(target, 42);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&value, target, sizeof(value), cudaMemcpyDeviceToHost));
    std::printf("a correct launch after all that stores %d\n", value);
    return value == 42;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Makes mistakes on purpose, and checks how they are reported.");
    int *target = nullptr;
    CHECK(cudaMalloc(&target, sizeof(int)));
    bool right = bad_launches(target);
    right = bad_memory_calls(target) && right;
    right = bad_names() && right;
    right = bad_events() && right;
    right = still_works(target) && right;
    CHECK(cudaFree(target));
    return report("error_handling", right);
}
