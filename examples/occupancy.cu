// SPDX-License-Identifier: Apache-2.0
//
// What a kernel needs and what a device has: attributes of functions, the block size that fills
// the device best, and more shared memory than a block gets unasked.
//
// The numbers depend on the device, so they go to stderr; the program checks how they relate.

#include "check.h"

#include <algorithm>
#include <vector>

constexpr int BOUND = 128;
constexpr int STATIC_INTS = 512;
// What a block may use without asking, on every device.
constexpr int UNASKED_SHARED_BYTES = 48 * 1024;

__global__ void square(int *values, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] *= values[i];
    }
}

// Reverses blocks of STATIC_INTS values; a block of more than BOUND threads is refused.
__global__ void __launch_bounds__(BOUND) reverse(int *values) {
    __shared__ int part[STATIC_INTS];
    for (int i = threadIdx.x; i < STATIC_INTS; i += blockDim.x) {
        part[i] = values[i];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < STATIC_INTS; i += blockDim.x) {
        values[i] = part[STATIC_INTS - 1 - i];
    }
}

// Fills all its dynamic shared memory, then adds it up.
__global__ void fill_shared(int count, unsigned *sum) {
    extern __shared__ unsigned words[];
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        words[i] = i;
    }
    __syncthreads();
    unsigned own = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        own += words[count - 1 - i];
    }
    atomicAdd(sum, own);
}

static bool expect(const char *what, bool holds) {
    std::printf("  %s: %s\n", what, holds ? "yes" : "NO");
    return holds;
}

static bool best_block_size(const cudaDeviceProp &device) {
    int blocks = 0, threads = 0;
    CHECK(cudaOccupancyMaxPotentialBlockSize(&blocks, &threads, square, 0, 0));
    std::fprintf(stderr, "suggested: %d blocks of %d threads\n", blocks, threads);

    std::printf("the suggested block size\n");
    bool right = expect("is a whole number of warps",
                        threads > 0 && threads % device.warpSize == 0);
    right = expect("is allowed", threads <= device.maxThreadsPerBlock) && right;
    int resident = 0;
    CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, square, threads, 0));
    right = expect("with its grid fills the device",
                   resident > 0 && blocks == resident * device.multiProcessorCount) && right;

    const int count = 10000;
    std::vector<int> values(count);
    for (int i = 0; i < count; ++i) {
        values[i] = i;
    }
    int *device_values = nullptr;
    CHECK(cudaMalloc(&device_values, count * sizeof(int)));
    CHECK(cudaMemcpy(device_values, values.data(), count * sizeof(int), cudaMemcpyHostToDevice));
    square<<<(count + threads - 1) / threads, threads>>>(device_values, count);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(values.data(), device_values, count * sizeof(int), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_values));
    bool squares = true;
    for (int i = 0; i < count; ++i) {
        squares = squares && values[i] == i * i;
    }
    return expect("works", squares) && right;
}

static bool function_attributes(const cudaDeviceProp &device) {
    cudaFuncAttributes attributes = {};
    CHECK(cudaFuncGetAttributes(&attributes, reverse));
    std::fprintf(stderr, "reverse: %d registers, %zu bytes shared, at most %d threads\n",
                 attributes.numRegs, attributes.sharedSizeBytes, attributes.maxThreadsPerBlock);

    std::printf("a kernel with __launch_bounds__(%d) and %d ints of shared memory\n", BOUND,
                STATIC_INTS);
    bool right = expect("reports its shared memory",
                        attributes.sharedSizeBytes >= STATIC_INTS * sizeof(int));
    right = expect("uses registers", attributes.numRegs > 0) && right;
    right = expect("reports its bound", attributes.maxThreadsPerBlock == BOUND) && right;

    int few = 0, many = 0;
    CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&few, reverse, BOUND, 40 * 1024));
    CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&many, reverse, BOUND, 0));
    right = expect("has fewer resident blocks the more shared memory each takes",
                   few >= 1 && few < many &&
                       many <= device.maxThreadsPerMultiProcessor / BOUND) && right;

    std::vector<int> values(STATIC_INTS);
    for (int i = 0; i < STATIC_INTS; ++i) {
        values[i] = i;
    }
    const size_t bytes = values.size() * sizeof(int);
    int *device_values = nullptr;
    CHECK(cudaMalloc(&device_values, bytes));
    CHECK(cudaMemcpy(device_values, values.data(), bytes, cudaMemcpyHostToDevice));
    reverse<<<1, 2 * BOUND>>>(device_values);
    right = expect("is not launched with more threads", cudaGetLastError() != cudaSuccess) && right;
    reverse<<<1, BOUND>>>(device_values);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(values.data(), device_values, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_values));
    bool reversed = true;
    for (int i = 0; i < STATIC_INTS; ++i) {
        reversed = reversed && values[i] == STATIC_INTS - 1 - i;
    }
    return expect("works with as many", reversed) && right;
}

static bool large_shared_memory() {
    int most = 0;
    CHECK(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
    std::fprintf(stderr, "a block can use %d bytes of shared memory\n", most);
    std::printf("more than %d bytes of shared memory\n", UNASKED_SHARED_BYTES);
    if (most <= UNASKED_SHARED_BYTES) {
        return expect("are there", false);
    }
    unsigned *device_sum = nullptr, sum = 0;
    CHECK(cudaMalloc(&device_sum, sizeof(sum)));
    CHECK(cudaMemset(device_sum, 0, sizeof(sum)));
    const int words = most / static_cast<int>(sizeof(unsigned));

    fill_shared<<<1, BOUND, most>>>(words, device_sum);
    bool right = expect("are refused unasked", cudaGetLastError() == cudaErrorInvalidValue);
    CHECK(cudaFuncSetAttribute(fill_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
    fill_shared<<<1, BOUND, most>>>(words, device_sum);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&sum, device_sum, sizeof(sum), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_sum));

    unsigned expected = 0;
    for (int i = 0; i < words; ++i) {
        expected += i;
    }
    return expect("are granted when asked for", sum == expected) && right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Attributes of kernels, and the block size that suits them.");
    cudaDeviceProp device = {};
    CHECK(cudaGetDeviceProperties(&device, 0));
    bool right = best_block_size(device);
    right = function_attributes(device) && right;
    right = large_shared_memory() && right;
    return report("occupancy", right);
}
