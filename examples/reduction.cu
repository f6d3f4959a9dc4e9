// SPDX-License-Identifier: Apache-2.0
//
// Many values become one: the sum and the largest of an array, and how many are odd.
//
// Three steps, each over fewer values: a thread adds up its share, the 32 threads of a warp
// exchange registers by shuffles, and one thread of each warp adds to the result by an atomic.

#include "check.h"

#include <algorithm>
#include <vector>

constexpr unsigned ALL_LANES = 0xffffffff;

struct Summary {
    unsigned long long sum;
    unsigned largest;
    unsigned odd_count;
};

__device__ unsigned long long warp_sum(unsigned long long value) {
    // After the step of 16 the lower half holds pairs, then fours, …; lane 0 ends with all.
    for (int step = 16; step > 0; step /= 2) {
        value += __shfl_down_sync(ALL_LANES, value, step);
    }
    return value;
}

__device__ unsigned warp_largest(unsigned value) {
    // The butterfly leaves the result in every lane.
    for (int step = 16; step > 0; step /= 2) {
        value = max(value, __shfl_xor_sync(ALL_LANES, value, step));
    }
    return value;
}

__global__ void summarize(const unsigned *values, int count, Summary *summary) {
    const int lane = threadIdx.x % warpSize;
    const int stride = gridDim.x * blockDim.x;

    unsigned long long sum = 0;
    unsigned largest = 0;
    unsigned odd_count = 0;
    // All lanes of a warp take part in each turn, as the vote needs them; those beyond the end
    // bring a zero, which changes nothing.
    for (int start = blockIdx.x * blockDim.x + threadIdx.x - lane; start < count;
         start += stride) {
        const unsigned value = start + lane < count ? values[start + lane] : 0;
        sum += value;
        largest = max(largest, value);
        odd_count += __popc(__ballot_sync(ALL_LANES, value % 2 == 1));
    }

    sum = warp_sum(sum);
    largest = warp_largest(largest);
    if (lane == 0) {
        atomicAdd(&summary->sum, sum);
        atomicMax(&summary->largest, largest);
        atomicAdd(&summary->odd_count, odd_count);
    }
}

int main(int argc, char **argv) {
    const int count = size_argument(argc, argv, "Sum, maximum and a count of an array.",
                                    "elements", 1000003, 1 << 28);
    const size_t bytes = count * sizeof(unsigned);

    std::vector<unsigned> values(count);
    Summary expected = {};
    for (int i = 0; i < count; ++i) {
        values[i] = static_cast<unsigned>(i) * 2654435761u >> 4;
        expected.sum += values[i];
        expected.largest = std::max(expected.largest, values[i]);
        expected.odd_count += values[i] % 2;
    }

    unsigned *device_values = nullptr;
    Summary *device_summary = nullptr;
    CHECK(cudaMalloc(&device_values, bytes));
    CHECK(cudaMalloc(&device_summary, sizeof(Summary)));
    CHECK(cudaMemcpy(device_values, values.data(), bytes, cudaMemcpyHostToDevice));
    CHECK(cudaMemset(device_summary, 0, sizeof(Summary)));

    summarize<<<64, 256>>>(device_values, count, device_summary);
    CHECK_LAUNCH();

    Summary summary = {};
    CHECK(cudaMemcpy(&summary, device_summary, sizeof(Summary), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_values));
    CHECK(cudaFree(device_summary));

    std::printf("of %d values:\n", count);
    std::printf("  sum      %llu, expected %llu\n", summary.sum, expected.sum);
    std::printf("  largest  %u, expected %u\n", summary.largest, expected.largest);
    std::printf("  odd      %u, expected %u\n", summary.odd_count, expected.odd_count);
    return report("reduction", summary.sum == expected.sum &&
                                   summary.largest == expected.largest &&
                                   summary.odd_count == expected.odd_count);
}
