// SPDX-License-Identifier: Apache-2.0
//
// The first CUDA program: add two vectors, one thread for each element.
//
// Shows cudaMalloc, cudaMemcpy in both directions, a kernel launch, and that a grid is
// usually a little larger than the data.

#include "check.h"

#include <vector>

__global__ void add(const float *a, const float *b, float *sum, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    // The last block has threads beyond the end of the data.
    if (i < count) {
        sum[i] = a[i] + b[i];
    }
}

int main(int argc, char **argv) {
    const int count = size_argument(argc, argv, "Adds two vectors.", "elements", 1000000, 1 << 28);
    const size_t bytes = count * sizeof(float);

    std::vector<float> a(count), b(count), sum(count);
    for (int i = 0; i < count; ++i) {
        a[i] = 0.5f * static_cast<float>(i % 1000);
        b[i] = 1.0f / static_cast<float>(1 + i % 777);
    }

    float *device_a = nullptr, *device_b = nullptr, *device_sum = nullptr;
    CHECK(cudaMalloc(&device_a, bytes));
    CHECK(cudaMalloc(&device_b, bytes));
    CHECK(cudaMalloc(&device_sum, bytes));
    CHECK(cudaMemcpy(device_a, a.data(), bytes, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(device_b, b.data(), bytes, cudaMemcpyHostToDevice));

    const int threads = 256;
    const int blocks = (count + threads - 1) / threads;
    add<<<blocks, threads>>>(device_a, device_b, device_sum, count);
    CHECK_LAUNCH();

    // This copy waits for the kernel: both are in the default stream.
    CHECK(cudaMemcpy(sum.data(), device_sum, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_a));
    CHECK(cudaFree(device_b));
    CHECK(cudaFree(device_sum));

    // One float addition is rounded the same way everywhere, so the comparison is exact.
    int wrong = 0;
    for (int i = 0; i < count; ++i) {
        wrong += sum[i] != a[i] + b[i];
    }
    std::printf("added %d elements with %d blocks of %d threads\n", count, blocks, threads);
    std::printf("elements that differ from the CPU's: %d\n", wrong);
    return report("vector_add", wrong == 0);
}
