// SPDX-License-Identifier: Apache-2.0
//
// Prefix sums: element i of the result is the sum of the elements 0 to i of the input.
//
// It looks serial, but is not: every block scans its own part and notes its total; the totals
// are scanned by the same function; then each block adds the total of all blocks before it.

#include "check.h"

#include <vector>

constexpr unsigned ALL_LANES = 0xffffffff;
constexpr int WARP = 32;
constexpr int THREADS = 256;

__device__ unsigned warp_scan(unsigned value) {
    const int lane = threadIdx.x % WARP;
    // After each step a lane holds the sum of twice as many lanes, its own being the last.
    for (int step = 1; step < WARP; step *= 2) {
        const unsigned earlier = __shfl_up_sync(ALL_LANES, value, step);
        if (lane >= step) {
            value += earlier;
        }
    }
    return value;
}

__global__ void scan_blocks(const unsigned *input, unsigned *output, unsigned *totals, int count) {
    __shared__ unsigned warp_totals[WARP];
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const int warp = threadIdx.x / WARP;
    const int lane = threadIdx.x % WARP;

    unsigned value = warp_scan(i < count ? input[i] : 0);
    if (lane == WARP - 1) {
        warp_totals[warp] = value;
    }
    __syncthreads();

    // The first warp scans the totals of all warps.
    if (warp == 0) {
        warp_totals[lane] = warp_scan(lane < THREADS / WARP ? warp_totals[lane] : 0);
    }
    __syncthreads();

    if (warp > 0) {
        value += warp_totals[warp - 1];
    }
    if (i < count) {
        output[i] = value;
    }
    if (threadIdx.x == THREADS - 1) {
        totals[blockIdx.x] = value;
    }
}

__global__ void add_earlier_blocks(unsigned *output, const unsigned *scanned_totals, int count) {
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (blockIdx.x > 0 && i < count) {
        output[i] += scanned_totals[blockIdx.x - 1];
    }
}

static void scan(const unsigned *input, unsigned *output, int count) {
    const int blocks = (count + THREADS - 1) / THREADS;
    unsigned *totals = nullptr;
    CHECK(cudaMalloc(&totals, blocks * sizeof(unsigned)));
    scan_blocks<<<blocks, THREADS>>>(input, output, totals, count);
    CHECK_LAUNCH();
    if (blocks > 1) {
        scan(totals, totals, blocks);
        add_earlier_blocks<<<blocks, THREADS>>>(output, totals, count);
        CHECK_LAUNCH();
    }
    CHECK(cudaFree(totals));
}

int main(int argc, char **argv) {
    const int count =
        size_argument(argc, argv, "Computes prefix sums.", "elements", 500000, 1 << 28);
    const size_t bytes = count * sizeof(unsigned);

    std::vector<unsigned> values(count), expected(count), sums(count);
    unsigned sum = 0;
    for (int i = 0; i < count; ++i) {
        values[i] = static_cast<unsigned>(i) * 2654435761u >> 24;
        sum += values[i];
        expected[i] = sum;
    }

    unsigned *device_values = nullptr, *device_sums = nullptr;
    CHECK(cudaMalloc(&device_values, bytes));
    CHECK(cudaMalloc(&device_sums, bytes));
    CHECK(cudaMemcpy(device_values, values.data(), bytes, cudaMemcpyHostToDevice));
    scan(device_values, device_sums, count);
    CHECK(cudaMemcpy(sums.data(), device_sums, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_values));
    CHECK(cudaFree(device_sums));

    int wrong = 0;
    for (int i = 0; i < count; ++i) {
        wrong += sums[i] != expected[i];
    }
    std::printf("prefix sums of %d elements\n", count);
    for (int i = 0; i < 4 && i < count; ++i) {
        std::printf("  sum of elements 0 to %d: %u\n", i, sums[i]);
    }
    std::printf("  sum of all elements: %u\n", sums[count - 1]);
    std::printf("sums that differ from the CPU's: %d\n", wrong);
    return report("scan", wrong == 0);
}
