// SPDX-License-Identifier: Apache-2.0
//
// Memory that kernels take and give back themselves: `malloc`, `free`, `new` and `delete` on the
// device, memory that outlives its kernel, and a heap that is exhausted.

#include "check.h"

#include <vector>

struct Node {
    int value;
    Node *next;
};

// Each thread makes a list of its own, whose nodes come from the heap one by one.
__global__ void make_lists(Node **heads, int length) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    Node *head = nullptr;
    for (int k = 0; k < length; ++k) {
        Node *node = static_cast<Node *>(malloc(sizeof(Node)));
        if (node == nullptr)
            break;
        node->value = i * 100 + k;
        node->next = head;
        head = node;
    }
    heads[i] = head;
}

// Another kernel adds them up and frees them.
__global__ void sum_lists(Node **heads, int *sums) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    int sum = 0;
    for (Node *node = heads[i]; node != nullptr;) {
        sum += node->value;
        Node *next = node->next;
        free(node);
        node = next;
    }
    sums[i] = sum;
}

// An array of the size that the thread wants, twice over, aligned as CUDA promises.
__global__ void sort(int *results) {
    const int count = threadIdx.x % 20 + 1;
    int *values = new int[count];
    for (int k = 0; k < count; ++k)
        values[k] = (k * 7 + threadIdx.x) % 31;
    for (int k = 1; k < count; ++k) {
        for (int j = k; j > 0 && values[j - 1] > values[j]; --j) {
            const int other = values[j];
            values[j] = values[j - 1];
            values[j - 1] = other;
        }
    }
    const bool is_aligned = reinterpret_cast<size_t>(values) % 16 == 0;
    results[threadIdx.x] = is_aligned ? values[count / 2] : -1;
    delete[] values;
}

__global__ void too_much(int *was_refused) {
    void *everything = malloc(size_t(1) << 60);
    *was_refused = everything == nullptr;
    free(everything);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Memory from the device's own heap.");
    constexpr int BLOCKS = 4, THREADS = 64, COUNT = BLOCKS * THREADS, LENGTH = 25;
    CHECK(cudaDeviceSetLimit(cudaLimitMallocHeapSize, 16 << 20));
    Node **heads = nullptr;
    int *numbers = nullptr;
    CHECK(cudaMalloc(&heads, COUNT * sizeof(Node *)));
    CHECK(cudaMalloc(&numbers, COUNT * sizeof(int)));
    std::vector<int> result(COUNT);
    auto fetch = [&] {
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(result.data(), numbers, COUNT * sizeof(int), cudaMemcpyDeviceToHost));
    };

    int wrong_sums = 0;
    for (int round = 0; round < 3; ++round) {
        make_lists<<<BLOCKS, THREADS>>>(heads, LENGTH);
        sum_lists<<<BLOCKS, THREADS>>>(heads, numbers);
        fetch();
        for (int i = 0; i < COUNT; ++i)
            wrong_sums += result[i] != LENGTH * i * 100 + LENGTH * (LENGTH - 1) / 2;
    }
    std::printf("lists: %d sums differ\n", wrong_sums);

    sort<<<1, THREADS>>>(numbers);
    fetch();
    int wrong_medians = 0;
    for (int i = 0; i < THREADS; ++i) {
        const int count = i % 20 + 1;
        int below[31] = {};
        for (int k = 0; k < count; ++k)
            ++below[(k * 7 + i) % 31];
        int median = 0;
        for (int seen = below[0]; seen <= count / 2; seen += below[median])
            ++median;
        wrong_medians += result[i] != median;
    }
    std::printf("arrays: %d medians differ\n", wrong_medians);

    too_much<<<1, 1>>>(numbers);
    fetch();
    std::printf("more than there is: %s\n", result[0] ? "refused" : "given");
    CHECK(cudaFree(heads));
    CHECK(cudaFree(numbers));
    return report("device_malloc", wrong_sums == 0 && wrong_medians == 0 && result[0] == 1);
}
