// SPDX-License-Identifier: Apache-2.0
//
// Memory pools of one's own: what they hold, when they give it back, and how much they may have.

#include "check.h"

#include <cstdint>

__global__ void set(unsigned char *bytes, size_t count, unsigned char value) {
    for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        bytes[i] = value;
    }
}

static unsigned long long level(cudaMemPool_t pool, cudaMemPoolAttr attribute) {
    std::uint64_t value = 0;
    CHECK(cudaMemPoolGetAttribute(pool, attribute, &value));
    return value;
}

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

static cudaMemPool_t make(size_t max_bytes) {
    cudaMemPoolProps properties = {};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.handleTypes = cudaMemHandleTypeNone;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = 0;
    properties.maxSize = max_bytes;
    cudaMemPool_t pool = nullptr;
    CHECK(cudaMemPoolCreate(&pool, &properties));
    return pool;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Makes memory pools and watches what they hold.");
    const size_t bytes = 3 << 20;
    bool right = true;
    cudaStream_t stream = nullptr;
    CHECK(cudaStreamCreate(&stream));
    cudaMemPool_t pool = make(0);

    std::printf("a new pool\n");
    right &= expect("holds nothing", level(pool, cudaMemPoolAttrReservedMemCurrent) == 0);
    right &= expect("keeps nothing", level(pool, cudaMemPoolAttrReleaseThreshold) == 0);
    int follows_events = 0;
    CHECK(cudaMemPoolGetAttribute(pool, cudaMemPoolReuseFollowEventDependencies, &follows_events));
    right &= expect("follows event dependencies", follows_events == 1);

    unsigned char *memory = nullptr;
    CHECK(cudaMallocFromPoolAsync(&memory, bytes, pool, stream));
    set<<<8, 128, 0, stream>>>(memory, bytes, 42);
    CHECK_LAUNCH();
    unsigned char last = 0;
    CHECK(cudaMemcpyAsync(&last, memory + bytes - 1, 1, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    std::printf("with an allocation of 3 MiB\n");
    right &= expect("it can be used", last == 42);
    right &= expect("uses at least 3 MiB", level(pool, cudaMemPoolAttrUsedMemCurrent) >= bytes);
    right &= expect("holds at least what it uses",
                    level(pool, cudaMemPoolAttrReservedMemCurrent) >=
                        level(pool, cudaMemPoolAttrUsedMemCurrent));

    CHECK(cudaFreeAsync(memory, stream));
    CHECK(cudaStreamSynchronize(stream));
    std::printf("after freeing it\n");
    right &= expect("uses nothing", level(pool, cudaMemPoolAttrUsedMemCurrent) == 0);
    right &= expect("holds nothing", level(pool, cudaMemPoolAttrReservedMemCurrent) == 0);
    right &= expect("remembers the most it used", level(pool, cudaMemPoolAttrUsedMemHigh) >= bytes);
    std::uint64_t zero = 0;
    CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &zero));
    right &= expect("forgets it on request", level(pool, cudaMemPoolAttrUsedMemHigh) == 0);

    std::printf("with a release threshold\n");
    std::uint64_t everything = ~0ull;
    CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &everything));
    CHECK(cudaMallocFromPoolAsync(&memory, bytes, pool, stream));
    CHECK(cudaFreeAsync(memory, stream));
    CHECK(cudaStreamSynchronize(stream));
    right &= expect("keeps what was freed",
                    level(pool, cudaMemPoolAttrReservedMemCurrent) >= bytes);
    CHECK(cudaMemPoolTrimTo(pool, 0));
    right &= expect("until it is trimmed", level(pool, cudaMemPoolAttrReservedMemCurrent) == 0);

    std::printf("access\n");
    cudaMemLocation location = {};
    location.type = cudaMemLocationTypeDevice;
    cudaMemAccessFlags flags = cudaMemAccessFlagsProtNone;
    CHECK(cudaMemPoolGetAccess(&flags, pool, &location));
    right &= expect("its device reads and writes", flags == cudaMemAccessFlagsProtReadWrite);

    std::printf("a pool of the device\n");
    cudaMemPool_t usual = nullptr, current = nullptr;
    CHECK(cudaDeviceGetDefaultMemPool(&usual, 0));
    CHECK(cudaDeviceSetMemPool(0, pool));
    CHECK(cudaDeviceGetMemPool(&current, 0));
    right &= expect("is the one that was set", current == pool && current != usual);
    CHECK(cudaMallocAsync(&memory, bytes, stream));
    right &= expect("serves cudaMallocAsync", level(pool, cudaMemPoolAttrUsedMemCurrent) >= bytes);
    CHECK(cudaMemPoolDestroy(pool));
    CHECK(cudaDeviceGetMemPool(&current, 0));
    right &= expect("is the default one after its end", current == usual);
    // The allocation outlives the pool's handle.
    CHECK(cudaMemsetAsync(memory, 7, bytes, stream));
    CHECK(cudaMemcpyAsync(&last, memory, 1, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaFreeAsync(memory, stream));
    CHECK(cudaStreamSynchronize(stream));
    right &= expect("its allocations outlive it", last == 7);

    std::printf("a pool of at most 4 MiB\n");
    cudaMemPool_t small = make(4 << 20);
    CHECK(cudaMallocFromPoolAsync(&memory, bytes, small, stream));
    unsigned char *more = nullptr;
    // Implementations may round the limit up, but not to eight times as much.
    const cudaError_t refused = cudaMallocFromPoolAsync(&more, 64 << 20, small, stream);
    right &= expect("refuses 64 MiB more", refused == cudaErrorMemoryAllocation);
    cudaGetLastError();
    CHECK(cudaFreeAsync(memory, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaMemPoolDestroy(small));
    right &= expect("a default pool cannot be destroyed",
                    cudaMemPoolDestroy(usual) == cudaErrorInvalidValue);
    cudaGetLastError();
    CHECK(cudaStreamDestroy(stream));
    return report("memory_pools", right);
}
