// SPDX-License-Identifier: Apache-2.0
//
// Functions that call themselves on the device: Ackermann's function, the towers of Hanoi, a
// quicksort, and as deep a recursion as the stack limit is set for.

#include "check.h"

#include <vector>

__device__ unsigned ackermann(unsigned m, unsigned n) {
    if (m == 0)
        return n + 1;
    return n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

// Counts the moves, and mixes where they go into a number.
__device__ void hanoi(int disks, int from, int to, unsigned &moves, unsigned &mix) {
    if (disks == 0)
        return;
    const int other = 3 - from - to;
    hanoi(disks - 1, from, other, moves, mix);
    ++moves;
    mix = mix * 31 + from * 3 + to;
    hanoi(disks - 1, other, to, moves, mix);
}

__device__ void quicksort(int *values, int first, int last) {
    if (first >= last)
        return;
    const int pivot = values[(first + last) / 2];
    int low = first, high = last;
    while (low <= high) {
        while (values[low] < pivot)
            ++low;
        while (values[high] > pivot)
            --high;
        if (low <= high) {
            const int other = values[low];
            values[low++] = values[high];
            values[high--] = other;
        }
    }
    quicksort(values, first, high);
    quicksort(values, low, last);
}

__device__ __noinline__ int depth(int left, const volatile int *step) {
    return left == 0 ? 0 : *step + depth(left - *step, step);
}

__global__ void ackermanns(unsigned *results) {
    results[threadIdx.x] = ackermann(threadIdx.x / 4, threadIdx.x % 4);
}

__global__ void towers(unsigned *results) {
    unsigned moves = 0, mix = 0;
    hanoi(threadIdx.x % 8, 0, 2, moves, mix);
    results[2 * threadIdx.x] = moves;
    results[2 * threadIdx.x + 1] = mix;
}

__global__ void sort(int *values, int each) {
    quicksort(values + (blockIdx.x * blockDim.x + threadIdx.x) * each, 0, each - 1);
}

__global__ void deep(int *results, int levels, int *step) {
    results[threadIdx.x] = depth(levels - threadIdx.x, step);
}

unsigned host_ackermann(unsigned m, unsigned n) {
    if (m == 0)
        return n + 1;
    return n == 0 ? host_ackermann(m - 1, 1) : host_ackermann(m - 1, host_ackermann(m, n - 1));
}

void host_hanoi(int disks, int from, int to, unsigned &mix) {
    if (disks == 0)
        return;
    const int other = 3 - from - to;
    host_hanoi(disks - 1, from, other, mix);
    mix = mix * 31 + from * 3 + to;
    host_hanoi(disks - 1, other, to, mix);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Recursion on the device.");
    CHECK(cudaDeviceSetLimit(cudaLimitStackSize, 32 << 10));
    constexpr int THREADS = 64, EACH = 50, COUNT = THREADS * EACH;
    int *device = nullptr;
    CHECK(cudaMalloc(&device, COUNT * sizeof(int)));
    std::vector<int> values(COUNT);
    const size_t bytes = COUNT * sizeof(int);
    bool right = true;
    auto fetch = [&] {
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(values.data(), device, bytes, cudaMemcpyDeviceToHost));
    };
    auto tell = [&](const char *what, int wrong) {
        std::printf("%-10s %d results differ from the CPU's\n", what, wrong);
        right = right && wrong == 0;
    };

    ackermanns<<<1, 12>>>(reinterpret_cast<unsigned *>(device));
    fetch();
    int wrong = 0;
    for (unsigned i = 0; i < 12; ++i)
        wrong += (unsigned)values[i] != host_ackermann(i / 4, i % 4);
    tell("ackermann", wrong);

    towers<<<1, THREADS>>>(reinterpret_cast<unsigned *>(device));
    fetch();
    wrong = 0;
    for (int i = 0; i < THREADS; ++i) {
        unsigned mix = 0;
        host_hanoi(i % 8, 0, 2, mix);
        wrong += values[2 * i] != (1 << i % 8) - 1 || (unsigned)values[2 * i + 1] != mix;
    }
    tell("hanoi", wrong);

    for (int i = 0; i < COUNT; ++i)
        values[i] = i * 7919 % 503;
    std::vector<int> counts(THREADS * 503);
    for (int i = 0; i < COUNT; ++i)
        ++counts[i / EACH * 503 + values[i]];
    CHECK(cudaMemcpy(device, values.data(), bytes, cudaMemcpyHostToDevice));
    sort<<<2, THREADS / 2>>>(device, EACH);
    fetch();
    wrong = 0;
    for (int i = 0; i < COUNT; ++i) {
        wrong += i % EACH > 0 && values[i - 1] > values[i];
        --counts[i / EACH * 503 + values[i]];
    }
    for (int count : counts)
        wrong += count != 0;
    tell("quicksort", wrong);

    const int one = 1;
    CHECK(cudaMemcpy(device + THREADS, &one, sizeof(int), cudaMemcpyHostToDevice));
    deep<<<1, THREADS>>>(device, 300, device + THREADS);
    fetch();
    wrong = 0;
    for (int i = 0; i < THREADS; ++i)
        wrong += values[i] != 300 - i;
    tell("depth", wrong);
    CHECK(cudaFree(device));
    return report("recursion", right);
}
