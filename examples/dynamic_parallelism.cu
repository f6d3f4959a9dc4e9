// SPDX-License-Identifier: Apache-2.0
//
// Kernels that launch kernels: quicksort, whose pieces are sorted by grids of their own; a tree of
// grids ten levels deep; and what a kernel learns of a launch that cannot be.
//
// nvcc: -rdc=true -lcudadevrt

#include "check.h"

#include <algorithm>
#include <vector>

constexpr int COUNT = 3000;
constexpr int SMALL = 32;

__device__ void insertion_sort(unsigned *values, int left, int right) {
    for (int i = left + 1; i <= right; ++i) {
        const unsigned value = values[i];
        int place = i;
        for (; place > left && values[place - 1] > value; --place) {
            values[place] = values[place - 1];
        }
        values[place] = value;
    }
}

// Both halves may be sorted at once, so each gets a stream of its own.
__global__ void quicksort(unsigned *values, int left, int right) {
    if (right - left < SMALL) {
        insertion_sort(values, left, right);
        return;
    }
    const unsigned pivot = values[(left + right) / 2];
    int low = left, high = right;
    while (low <= high) {
        while (values[low] < pivot) {
            ++low;
        }
        while (values[high] > pivot) {
            --high;
        }
        if (low <= high) {
            const unsigned swapped = values[low];
            values[low++] = values[high];
            values[high--] = swapped;
        }
    }
    if (left < high) {
        quicksort<<<1, 1, 0, cudaStreamFireAndForget>>>(values, left, high);
    }
    if (low < right) {
        quicksort<<<1, 1, 0, cudaStreamFireAndForget>>>(values, low, right);
    }
}

// Each grid of a level launches two of the next.
__global__ void count_tree(unsigned *counters, int level, int depth) {
    if (threadIdx.x == 0) {
        atomicAdd(&counters[level], 1);
    }
    if (threadIdx.x < 2 && level + 1 < depth) {
        count_tree<<<1, 32, 0, cudaStreamFireAndForget>>>(counters, level + 1, depth);
    }
}

__global__ void set(int *place, int value) {
    *place = value;
}

__global__ void launch_badly(int *codes) {
    set<<<1, 2048>>>(codes + 10, 1);
    codes[0] = cudaPeekAtLastError();
    codes[1] = cudaGetLastError();
    codes[2] = cudaGetLastError();
    set<<<1, 1>>>(codes + 3, 7);
    codes[4] = cudaGetLastError();
}

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Kernels that launch kernels.");
    bool right = true;

    std::vector<unsigned> host(COUNT);
    unsigned state = 1;
    for (unsigned &value : host) {
        state = state * 1664525u + 1013904223u;
        value = state >> 8;
    }
    unsigned *values;
    const size_t bytes = COUNT * sizeof(unsigned);
    CHECK(cudaMalloc(&values, bytes));
    CHECK(cudaMemcpy(values, host.data(), bytes, cudaMemcpyHostToDevice));
    quicksort<<<1, 1>>>(values, 0, COUNT - 1);
    CHECK_LAUNCH();
    // The grid of the host is complete only when all grids below it are.
    std::vector<unsigned> sorted(COUNT);
    CHECK(cudaMemcpy(sorted.data(), values, bytes, cudaMemcpyDeviceToHost));
    std::sort(host.begin(), host.end());
    right &= tell("quicksort by grids that launch grids sorts", sorted == host);

    constexpr int DEPTH = 8;
    unsigned *counters;
    CHECK(cudaMalloc(&counters, DEPTH * sizeof(unsigned)));
    CHECK(cudaMemset(counters, 0, DEPTH * sizeof(unsigned)));
    count_tree<<<1, 32>>>(counters, 0, DEPTH);
    CHECK_LAUNCH();
    unsigned levels[DEPTH];
    CHECK(cudaMemcpy(levels, counters, sizeof levels, cudaMemcpyDeviceToHost));
    bool doubled = true;
    for (int level = 0; level < DEPTH; ++level) {
        doubled = doubled && levels[level] == 1u << level;
    }
    right &= tell("each level of a tree has twice the grids", doubled);

    int *codes, host_codes[16];
    CHECK(cudaMalloc(&codes, sizeof host_codes));
    CHECK(cudaMemset(codes, 0, sizeof host_codes));
    launch_badly<<<1, 1>>>(codes);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(host_codes, codes, sizeof host_codes, cudaMemcpyDeviceToHost));
    right &= tell("a block too large is an error of the kernel's thread",
                  host_codes[0] != cudaSuccess && host_codes[1] == host_codes[0]);
    right &= tell("which is told once", host_codes[2] == cudaSuccess);
    right &= tell("and the next launch works",
                  host_codes[4] == cudaSuccess && host_codes[3] == 7 && host_codes[10] == 0);

    CHECK(cudaFree(values));
    CHECK(cudaFree(counters));
    CHECK(cudaFree(codes));
    return report("dynamic_parallelism", right);
}
