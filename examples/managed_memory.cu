// SPDX-License-Identifier: Apache-2.0
//
// Managed memory: one pointer that both the host and kernels use, in turns.
//
// The host touches it only while the device is idle, as every device allows.

#include "check.h"

constexpr int THREADS = 256;

struct Node {
    int value;
    Node *next;
};

__global__ void add_one(int *values, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] += 1;
    }
}

// Follows pointers that the host has set.
__global__ void sum_list(const Node *head, int *sum) {
    int total = 0;
    for (const Node *node = head; node != nullptr; node = node->next) {
        total += node->value;
    }
    *sum = total;
}

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

int main(int argc, char **argv) {
    const int count = size_argument(argc, argv, "Host and kernels use one memory.", "elements",
                                    100000, 1 << 26);
    const size_t bytes = count * sizeof(int);
    const int blocks = (count + THREADS - 1) / THREADS;
    bool right = true;

    int *values = nullptr;
    CHECK(cudaMallocManaged(&values, bytes));
    for (int i = 0; i < count; ++i) {
        values[i] = i;
    }
    // The host changes a few of them between the kernels.
    for (int round = 0; round < 5; ++round) {
        add_one<<<blocks, THREADS>>>(values, count);
        add_one<<<blocks, THREADS>>>(values, count);
        CHECK_LAUNCH();
        CHECK(cudaDeviceSynchronize());
        values[round] += 1000;
    }
    add_one<<<blocks, THREADS>>>(values, count);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    bool is_so = true;
    for (int i = 0; i < count; ++i) {
        is_so = is_so && values[i] == i + 11 + (i < 5 ? 1000 : 0);
    }
    right &= expect("kernels and host see each other's changes", is_so);

    Node *nodes = nullptr;
    int *sum = nullptr;
    CHECK(cudaMallocManaged(&nodes, 10 * sizeof(Node)));
    CHECK(cudaMallocManaged(&sum, sizeof(int)));
    for (int i = 0; i < 10; ++i) {
        nodes[i].value = i * i;
        nodes[i].next = i + 1 < 10 ? &nodes[i + 1] : nullptr;
    }
    sum_list<<<1, 1>>>(nodes, sum);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    right &= expect("pointers mean the same on both sides", *sum == 285);

    // Copies and memsets take it as either kind of memory.
    CHECK(cudaMemset(values, 0, bytes / 2));
    CHECK(cudaDeviceSynchronize());
    right &= expect("a memset shows", values[0] == 0 && values[count - 1] == count + 10);
    int *device = nullptr;
    CHECK(cudaMalloc(&device, bytes));
    values[1] = 77;
    CHECK(cudaMemcpy(device, values, bytes, cudaMemcpyDefault));
    add_one<<<blocks, THREADS>>>(device, count);
    CHECK(cudaMemcpy(values, device, bytes, cudaMemcpyDefault));
    CHECK(cudaDeviceSynchronize());
    right &= expect("copies in both directions are right",
                    values[0] == 1 && values[1] == 78 && values[count - 1] == count + 11);

    // An event that has been waited for is enough to know that a stream is done.
    cudaStream_t stream = nullptr;
    cudaEvent_t done = nullptr;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaEventCreate(&done));
    values[2] = 5;
    add_one<<<blocks, THREADS, 0, stream>>>(values, count);
    CHECK(cudaEventRecord(done, stream));
    CHECK(cudaEventSynchronize(done));
    values[2] += 10;
    add_one<<<blocks, THREADS, 0, stream>>>(values, count);
    CHECK(cudaStreamSynchronize(stream));
    right &= expect("events and streams hand it over", values[2] == 17 && values[1] == 80);

    // What is attached to a stream is the host's while other streams work.
    int *own = nullptr;
    CHECK(cudaMallocManaged(&own, bytes, cudaMemAttachHost));
    for (int i = 0; i < count; ++i) {
        own[i] = 3 * i;
    }
    CHECK(cudaStreamAttachMemAsync(stream, own));
    CHECK(cudaStreamSynchronize(stream));
    add_one<<<blocks, THREADS, 0, stream>>>(own, count);
    CHECK(cudaStreamSynchronize(stream));
    is_so = true;
    for (int i = 0; i < count; ++i) {
        is_so = is_so && own[i] == 3 * i + 1;
    }
    right &= expect("memory can belong to one stream", is_so);

    CHECK(cudaEventDestroy(done));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFree(own));
    CHECK(cudaFree(device));
    CHECK(cudaFree(nodes));
    CHECK(cudaFree(sum));
    CHECK(cudaFree(values));
    return report("managed_memory", right);
}
