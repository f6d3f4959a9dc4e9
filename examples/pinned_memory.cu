// SPDX-License-Identifier: Apache-2.0
//
// Host memory that the device's copy engines reach directly: allocated as such by cudaHostAlloc,
// or registered later by cudaHostRegister.
//
// Only from and to such memory are copies asynchronous. cudaPointerGetAttributes tells which
// kind of memory a pointer points to.

#include "check.h"

#include <cstdlib>

constexpr int THREADS = 256;

__global__ void negate(int *values, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] = -values[i];
    }
}

static const char *kind_of(const void *pointer) {
    cudaPointerAttributes attributes = {};
    CHECK(cudaPointerGetAttributes(&attributes, pointer));
    switch (attributes.type) {
    case cudaMemoryTypeUnregistered:
        return "ordinary host memory";
    case cudaMemoryTypeHost:
        return "pinned host memory";
    case cudaMemoryTypeDevice:
        return "device memory";
    case cudaMemoryTypeManaged:
        return "managed memory";
    default:
        return "unknown memory";
    }
}

static bool expect_kind(const char *what, const void *pointer, const char *expected) {
    const char *kind = kind_of(pointer);
    std::printf("  %s: %s\n", what, kind);
    return std::strcmp(kind, expected) == 0;
}

// To the device, through the kernel and back into other host memory, all in one stream.
static bool round_trip(int *source, int *target, int *device, int count) {
    const size_t bytes = count * sizeof(int);
    // Both may be the same memory.
    for (int i = 0; i < count; ++i) {
        target[i] = 0;
        source[i] = i + 1;
    }
    cudaStream_t stream = nullptr;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaMemcpyAsync(device, source, bytes, cudaMemcpyHostToDevice, stream));
    negate<<<(count + THREADS - 1) / THREADS, THREADS, 0, stream>>>(device, count);
    CHECK_LAUNCH();
    CHECK(cudaMemcpyAsync(target, device, bytes, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaStreamDestroy(stream));
    for (int i = 0; i < count; ++i) {
        if (target[i] != -(i + 1)) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv) {
    const int count = size_argument(argc, argv, "Copies from and to pinned host memory.",
                                    "elements", 300000, 1 << 26);
    const size_t bytes = count * sizeof(int);
    const size_t page = 4096;

    int *allocated = nullptr, *device = nullptr;
    CHECK(cudaHostAlloc(&allocated, bytes, cudaHostAllocDefault));
    CHECK(cudaMalloc(&device, bytes));
    // Registered memory is whole pages, so this begins and ends at one.
    int *const own = static_cast<int *>(std::aligned_alloc(page, (bytes + page - 1) / page * page));
    if (own == nullptr) {
        std::fprintf(stderr, "out of memory\n");
        return 1;
    }

    std::printf("before registration\n");
    bool right = expect_kind("cudaMalloc", device, "device memory");
    right = expect_kind("cudaHostAlloc", allocated, "pinned host memory") && right;
    right = expect_kind("the middle of it", allocated + count / 2, "pinned host memory") && right;
    right = expect_kind("malloc", own, "ordinary host memory") && right;

    CHECK(cudaHostRegister(own, bytes, cudaHostRegisterDefault));
    std::printf("while registered\n");
    right = expect_kind("malloc", own, "pinned host memory") && right;

    const bool forth = round_trip(own, allocated, device, count);
    std::printf("  from registered memory to allocated memory: %s\n", forth ? "right" : "wrong");
    const bool back = round_trip(allocated, own, device, count);
    std::printf("  from allocated memory to registered memory: %s\n", back ? "right" : "wrong");

    CHECK(cudaHostUnregister(own));
    std::printf("after registration\n");
    right = expect_kind("malloc", own, "ordinary host memory") && right;

    // Copies from ordinary memory work all the same, only not at the same time as other work.
    const bool ordinary = round_trip(own, own, device, count);
    std::printf("  from ordinary memory and back: %s\n", ordinary ? "right" : "wrong");

    CHECK(cudaFree(device));
    CHECK(cudaFreeHost(allocated));
    std::free(own);
    return report("pinned_memory", right && forth && back && ordinary);
}
