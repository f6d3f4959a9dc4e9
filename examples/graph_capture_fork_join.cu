// SPDX-License-Identifier: Apache-2.0
// Captures work of several streams that are joined by events into one graph, and looks at the
// dependencies that come of it.

#include "check.h"

#include <vector>

__global__ void fill(int* data, int value, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) data[i] = value + i;
}

__global__ void add(const int* a, const int* b, int* sum, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) sum[i] = a[i] + b[i];
}

static void print_edges(cudaGraph_t graph) {
    size_t count = 0;
    CHECK(cudaGraphGetNodes(graph, nullptr, &count));
    std::vector<cudaGraphNode_t> nodes(count);
    CHECK(cudaGraphGetNodes(graph, nodes.data(), &count));
    size_t roots = 0;
    CHECK(cudaGraphGetRootNodes(graph, nullptr, &roots));
    std::printf("nodes %zu, roots %zu\n", count, roots);
    for (size_t i = 0; i < count; i++) {
        size_t before = 0;
#if CUDART_VERSION >= 13000
        CHECK(cudaGraphNodeGetDependencies(nodes[i], nullptr, nullptr, &before));
#else
        CHECK(cudaGraphNodeGetDependencies(nodes[i], nullptr, &before));
#endif
        std::printf("node %zu depends on %zu\n", i, before);
    }
}

int main(int argc, char** argv) {
    no_arguments(argc, argv, "captures streams that fork and join");
    const int n = 5000, blocks = (n + 255) / 256;
    int *a, *b, *sum;
    CHECK(cudaMalloc(&a, n * sizeof(int)));
    CHECK(cudaMalloc(&b, n * sizeof(int)));
    CHECK(cudaMalloc(&sum, n * sizeof(int)));
    cudaStream_t origin, side;
    CHECK(cudaStreamCreateWithFlags(&origin, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
    cudaEvent_t fork, join;
    CHECK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
    CHECK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));

    CHECK(cudaStreamBeginCapture(origin, cudaStreamCaptureModeThreadLocal));
    CHECK(cudaMemsetAsync(sum, 0, n * sizeof(int), origin));
    CHECK(cudaEventRecord(fork, origin));
    CHECK(cudaStreamWaitEvent(side, fork, 0));
    cudaStreamCaptureStatus status;
    CHECK(cudaStreamIsCapturing(side, &status));
    std::printf("the other stream is captured: %d\n", status == cudaStreamCaptureStatusActive);
    fill<<<blocks, 256, 0, origin>>>(a, 1, n);
    fill<<<blocks, 256, 0, side>>>(b, 10, n);
    CHECK_LAUNCH();
    CHECK(cudaEventRecord(join, side));
    CHECK(cudaStreamWaitEvent(origin, join, 0));
    add<<<blocks, 256, 0, origin>>>(a, b, sum, n);
    CHECK_LAUNCH();
    cudaGraph_t graph;
    CHECK(cudaStreamEndCapture(origin, &graph));
    CHECK(cudaStreamIsCapturing(side, &status));
    std::printf("the other stream is free again: %d\n", status == cudaStreamCaptureStatusNone);
    print_edges(graph);

    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    int wrong = 0;
    std::vector<int> host(n);
    for (int round = 0; round < 3; round++) {
        CHECK(cudaMemset(sum, 255, n * sizeof(int)));
        // The device's default stream and these streams do not wait for each other.
        CHECK(cudaDeviceSynchronize());
        CHECK(cudaGraphLaunch(exec, round == 1 ? side : origin));
        CHECK(cudaDeviceSynchronize());
        CHECK(cudaMemcpy(host.data(), sum, n * sizeof(int), cudaMemcpyDeviceToHost));
        for (int i = 0; i < n; i++) wrong += host[i] != 11 + 2 * i;
    }
    std::printf("wrong sums: %d\n", wrong);

    // A fork that is never joined is an error, and its capture is lost.
    CHECK(cudaStreamBeginCapture(origin, cudaStreamCaptureModeThreadLocal));
    CHECK(cudaEventRecord(fork, origin));
    CHECK(cudaStreamWaitEvent(side, fork, 0));
    fill<<<blocks, 256, 0, side>>>(b, 10, n);
    cudaGraph_t none = graph;
    cudaError_t error = cudaStreamEndCapture(origin, &none);
    std::printf("unjoined: %s, graph %s\n", cudaGetErrorName(error), none ? "there" : "null");
    (void)cudaGetLastError();
    CHECK(cudaStreamIsCapturing(side, &status));
    std::printf("the other stream is free again: %d\n", status == cudaStreamCaptureStatusNone);

    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaEventDestroy(fork));
    CHECK(cudaEventDestroy(join));
    CHECK(cudaStreamDestroy(origin));
    CHECK(cudaStreamDestroy(side));
    CHECK(cudaFree(a));
    CHECK(cudaFree(b));
    CHECK(cudaFree(sum));
    if (wrong != 0) return 1;
    std::printf("ok graph_capture_fork_join\n");
    return 0;
}
