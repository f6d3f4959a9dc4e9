// SPDX-License-Identifier: Apache-2.0
//
// Calls through pointers on the device: a table of functions, pointers that travel through the host
// as numbers, and a different function for each lane of a warp.

#include "check.h"

#include <vector>

using Operation = int (*)(int, int);

__device__ __noinline__ int add(int a, int b) { return a + b; }
__device__ __noinline__ int subtract(int a, int b) { return a - b; }
__device__ __noinline__ int multiply(int a, int b) { return a * b; }

// Calls itself through the table, so it can only be called through a pointer.
__device__ __noinline__ int power(int a, int b);

__device__ Operation operations[] = {add, subtract, multiply, power};

__device__ __noinline__ int power(int a, int b) {
    return b == 0 ? 1 : operations[2](a, operations[3](a, b - 1));
}

__global__ void find(Operation *found) { *found = multiply; }

__global__ void apply(int *results, Operation from_host) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int one = operations[i % 4](i % 13, i % 5);
    results[2 * i] = one;
    results[2 * i + 1] = from_host(one, 3);
}

int host_result(int which, int a, int b) {
    int power = 1;
    switch (which) {
    case 0: return a + b;
    case 1: return a - b;
    case 2: return a * b;
    default:
        for (int i = 0; i < b; ++i)
            power *= a;
        return power;
    }
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Function pointers on the device.");
    constexpr int COUNT = 256;
    Operation *place = nullptr, pointer = nullptr;
    int *device = nullptr;
    CHECK(cudaMalloc(&place, sizeof(Operation)));
    CHECK(cudaMalloc(&device, COUNT * 2 * sizeof(int)));
    find<<<1, 1>>>(place);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&pointer, place, sizeof(Operation), cudaMemcpyDeviceToHost));
    apply<<<COUNT / 64, 64>>>(device, pointer);
    CHECK_LAUNCH();
    std::vector<int> results(COUNT * 2);
    CHECK(cudaMemcpy(results.data(), device, COUNT * 2 * sizeof(int), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(place));
    CHECK(cudaFree(device));
    int wrong = 0;
    for (int i = 0; i < COUNT; ++i) {
        const int one = host_result(i % 4, i % 13, i % 5);
        wrong += results[2 * i] != one || results[2 * i + 1] != one * 3;
    }
    std::printf("%d calls through pointers, %d results differ from the CPU's\n", COUNT * 2, wrong);
    return report("function_pointers", wrong == 0);
}
