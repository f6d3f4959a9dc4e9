// SPDX-License-Identifier: Apache-2.0
//
// A histogram of bytes with atomics in shared memory.
//
// Many threads want to count in the same bin. Each block counts in its own bins in shared
// memory, where atomics are fast, and adds them to the result in global memory once at its end.

#include "check.h"

#include <string>
#include <vector>

constexpr int BINS = 256;

__global__ void count_bytes(const unsigned char *bytes, int count, unsigned *bins) {
    __shared__ unsigned block_bins[BINS];
    for (int bin = threadIdx.x; bin < BINS; bin += blockDim.x) {
        block_bins[bin] = 0;
    }
    __syncthreads();

    const int stride = gridDim.x * blockDim.x;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        atomicAdd(&block_bins[bytes[i]], 1u);
    }
    __syncthreads();

    for (int bin = threadIdx.x; bin < BINS; bin += blockDim.x) {
        atomicAdd(&bins[bin], block_bins[bin]);
    }
}

int main(int argc, char **argv) {
    const int count =
        size_argument(argc, argv, "Counts how often each byte occurs.", "bytes", 2000000, 1 << 30);

    // The sum of two dice with 128 sides: small and large sums are rare.
    std::vector<unsigned char> bytes(count);
    std::vector<unsigned> expected(BINS, 0);
    unsigned random = 1;
    for (int i = 0; i < count; ++i) {
        random = random * 1664525u + 1013904223u;
        bytes[i] = static_cast<unsigned char>((random >> 25) + (random >> 18) % 128);
        expected[bytes[i]] += 1;
    }

    unsigned char *device_bytes = nullptr;
    unsigned *device_bins = nullptr;
    CHECK(cudaMalloc(&device_bytes, count));
    CHECK(cudaMalloc(&device_bins, BINS * sizeof(unsigned)));
    CHECK(cudaMemcpy(device_bytes, bytes.data(), count, cudaMemcpyHostToDevice));
    CHECK(cudaMemset(device_bins, 0, BINS * sizeof(unsigned)));

    count_bytes<<<32, 256>>>(device_bytes, count, device_bins);
    CHECK_LAUNCH();

    std::vector<unsigned> bins(BINS);
    CHECK(cudaMemcpy(bins.data(), device_bins, BINS * sizeof(unsigned), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_bytes));
    CHECK(cudaFree(device_bins));

    std::printf("%d bytes, sixteen bins a line:\n", count);
    for (int first = 0; first < BINS; first += 16) {
        unsigned sum = 0;
        for (int bin = first; bin < first + 16; ++bin) {
            sum += bins[bin];
        }
        const std::string bar(static_cast<size_t>(400.0 * sum / count), '#');
        std::printf("%3d to %3d %9u %s\n", first, first + 15, sum, bar.c_str());
    }
    return report("histogram", bins == expected);
}
