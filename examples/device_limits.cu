// SPDX-License-Identifier: Apache-2.0
//
// Limits of a device: how they are asked for and set, a heap that ends, memory from the heap that
// outlives its kernel, and recursion that needs more stack than there is by default.

#include "check.h"

// Takes pieces from the heap until there are none; keeps them in a list if it is given one.
__global__ void exhaust(size_t bytes, int most, int *count, void **list) {
    int taken = 0;
    void *first = nullptr;
    while (taken < most) {
        void **piece = static_cast<void **>(malloc(bytes));
        if (piece == nullptr) {
            break;
        }
        *piece = first;
        first = piece;
        ++taken;
    }
    *count = taken;
    *list = first;
}

__global__ void release(void **list, int *count) {
    int freed = 0;
    void *piece = *list;
    while (piece != nullptr) {
        void *next = *static_cast<void **>(piece);
        free(piece);
        piece = next;
        ++freed;
    }
    *count = freed;
}

// Ackermann's function: deep recursion, of which the depth is known at run time only.
__device__ __noinline__ unsigned ackermann(unsigned m, unsigned n) {
    if (m == 0) {
        return n + 1;
    }
    if (n == 0) {
        return ackermann(m - 1, 1);
    }
    return ackermann(m - 1, ackermann(m, n - 1));
}

__global__ void recurse(unsigned m, unsigned n, unsigned *result) {
    *result = ackermann(m, n);
}

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Limits of a device.");
    bool right = true;
    size_t value = 0;

    // The heap has to have its size before the first kernel that uses it runs.
    const size_t heap = 8 << 20;
    CHECK(cudaDeviceSetLimit(cudaLimitMallocHeapSize, heap));
    CHECK(cudaDeviceGetLimit(&value, cudaLimitMallocHeapSize));
    right &= tell("the heap has at least the size that was set", value >= heap);
    CHECK(cudaDeviceSetLimit(cudaLimitPrintfFifoSize, 2 << 20));
    CHECK(cudaDeviceGetLimit(&value, cudaLimitPrintfFifoSize));
    right &= tell("the buffer of printf too", value >= 2 << 20);
    CHECK(cudaDeviceSetLimit(cudaLimitStackSize, 16 << 10));
    CHECK(cudaDeviceGetLimit(&value, cudaLimitStackSize));
    right &= tell("the stack too", value >= 16 << 10);
    CHECK(cudaDeviceGetLimit(&value, cudaLimitDevRuntimePendingLaunchCount));
    right &= tell("launches by kernels are limited", value > 0);
    right &= tell("a limit that does not exist is refused",
                  cudaDeviceSetLimit(static_cast<cudaLimit>(99), 1) != cudaSuccess);
    right &= tell("and leaves no error behind", cudaGetLastError() != cudaSuccess &&
                                                    cudaGetLastError() == cudaSuccess);

    int *count, host_count = -1;
    void **list;
    CHECK(cudaMalloc(&count, sizeof(int)));
    CHECK(cudaMalloc(&list, sizeof(void *)));
    exhaust<<<1, 1>>>(64 << 10, 1000, count, list);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&host_count, count, sizeof host_count, cudaMemcpyDeviceToHost));
    std::fprintf(stderr, "%d pieces of 64 KiB\n", host_count);
    right &= tell("a heap of 8 MiB gives more than 60 pieces of 64 KiB and fewer than 1000",
                  host_count > 60 && host_count < 1000);
    const int taken = host_count;
    release<<<1, 1>>>(list, count);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&host_count, count, sizeof host_count, cudaMemcpyDeviceToHost));
    right &= tell("another kernel frees them all", host_count == taken);
    exhaust<<<1, 1>>>(64 << 10, 50, count, list);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&host_count, count, sizeof host_count, cudaMemcpyDeviceToHost));
    right &= tell("then they can be had again", host_count == 50);
    exhaust<<<1, 1>>>(size_t{1} << 40, 1, count, list);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&host_count, count, sizeof host_count, cudaMemcpyDeviceToHost));
    right &= tell("a piece larger than all memory cannot", host_count == 0);

    unsigned *result, host_result = 0;
    CHECK(cudaMalloc(&result, sizeof host_result));
    recurse<<<1, 1>>>(2, 40, result);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&host_result, result, sizeof host_result, cudaMemcpyDeviceToHost));
    std::printf("ackermann(2, 40) = %u\n", host_result);
    right &= host_result == 83;

    CHECK(cudaFree(count));
    CHECK(cudaFree(list));
    CHECK(cudaFree(result));
    return report("device_limits", right);
}
