// SPDX-License-Identifier: Apache-2.0
//
// Memory that is allocated and freed in the order of a stream: no call of this kind waits for the
// device, and what one step frees the next one can use again.

#include "check.h"

constexpr int THREADS = 256;

__global__ void fill(int *values, int count, int first) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] = first + i;
    }
}

__global__ void add(const int *a, const int *b, int *sum, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        sum[i] = a[i] + b[i];
    }
}

int main(int argc, char **argv) {
    const int count = size_argument(argc, argv, "Allocates and frees in the order of streams.",
                                    "elements", 100000, 1 << 26);
    const size_t bytes = count * sizeof(int);
    const int blocks = (count + THREADS - 1) / THREADS;

    int supported = 0;
    CHECK(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, 0));
    std::printf("memory pools are %s\n", supported ? "supported" : "not supported");
    if (!supported) {
        return report("stream_ordered_allocation", true);
    }

    cudaStream_t producer = nullptr, consumer = nullptr;
    CHECK(cudaStreamCreateWithFlags(&producer, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&consumer, cudaStreamNonBlocking));
    cudaEvent_t ready = nullptr;
    CHECK(cudaEventCreateWithFlags(&ready, cudaEventDisableTiming));

    int *host = static_cast<int *>(std::malloc(bytes));
    bool right = true;
    for (int round = 0; round < 20; ++round) {
        int *a = nullptr, *b = nullptr, *sum = nullptr;
        CHECK(cudaMallocAsync(&a, bytes, producer));
        CHECK(cudaMallocAsync(&b, bytes, producer));
        CHECK(cudaMallocAsync(&sum, bytes, producer));
        fill<<<blocks, THREADS, 0, producer>>>(a, count, round);
        fill<<<blocks, THREADS, 0, producer>>>(b, count, 2 * round);
        add<<<blocks, THREADS, 0, producer>>>(a, b, sum, count);
        CHECK_LAUNCH();
        CHECK(cudaFreeAsync(a, producer));
        CHECK(cudaFreeAsync(b, producer));
        // Another stream may use and free it, once it comes after the allocation.
        CHECK(cudaEventRecord(ready, producer));
        CHECK(cudaStreamWaitEvent(consumer, ready, 0));
        CHECK(cudaMemcpyAsync(host, sum, bytes, cudaMemcpyDeviceToHost, consumer));
        CHECK(cudaFreeAsync(sum, consumer));
        CHECK(cudaStreamSynchronize(consumer));
        for (int i = 0; i < count; ++i) {
            right = right && host[i] == 3 * round + 2 * i;
        }
    }
    std::printf("20 rounds of allocating, computing and freeing: %s\n", right ? "right" : "wrong");

    // Either kind of memory can be freed in either way.
    int *ordered = nullptr, *plain = nullptr;
    CHECK(cudaMallocAsync(&ordered, bytes, producer));
    CHECK(cudaStreamSynchronize(producer));
    CHECK(cudaFree(ordered));
    CHECK(cudaMalloc(&plain, bytes));
    CHECK(cudaFreeAsync(plain, producer));
    CHECK(cudaDeviceSynchronize());
    std::printf("cudaFree and cudaFreeAsync take both kinds\n");

    std::free(host);
    CHECK(cudaEventDestroy(ready));
    CHECK(cudaStreamDestroy(producer));
    CHECK(cudaStreamDestroy(consumer));
    return report("stream_ordered_allocation", right);
}
