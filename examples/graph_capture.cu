// SPDX-License-Identifier: Apache-2.0
// Captures copies, a memset and kernels of a stream into a graph and launches it several times.
#include <cuda_runtime.h>

#include <cstdio>
#include <vector>

#include "check.h"

__global__ void scale(float* data, float factor, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) data[i] *= factor;
}

__global__ void count(int* runs) { atomicAdd(runs, 1); }

int main() {
    const int n = 1000;
    const size_t bytes = n * sizeof(float);
    float *host, *device, *copy;
    int* runs;
    CHECK(cudaMallocHost(&host, bytes));
    CHECK(cudaMalloc(&device, bytes));
    CHECK(cudaMalloc(&copy, bytes));
    CHECK(cudaMalloc(&runs, sizeof(int)));
    CHECK(cudaMemset(runs, 0, sizeof(int)));
    CHECK(cudaMemset(copy, 0, bytes));
    CHECK(cudaDeviceSynchronize());
    for (int i = 0; i < n; i++) host[i] = -1;

    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    cudaStreamCaptureStatus status;
    CHECK(cudaStreamIsCapturing(stream, &status));
    printf("capturing before: %d\n", status != cudaStreamCaptureStatusNone);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    CHECK(cudaStreamIsCapturing(stream, &status));
    printf("capturing between: %d\n", status == cudaStreamCaptureStatusActive);
    CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream));
    scale<<<(n + 255) / 256, 256, 0, stream>>>(device, 2.0f, n);
    scale<<<(n + 255) / 256, 256, 0, stream>>>(device, 3.0f, n);
    CHECK(cudaMemcpyAsync(copy, device, bytes, cudaMemcpyDeviceToDevice, stream));
    CHECK(cudaMemsetAsync(copy, 0, 2 * sizeof(float), stream));
    count<<<1, 1, 0, stream>>>(runs);
    CHECK(cudaMemcpyAsync(host, copy, bytes, cudaMemcpyDeviceToHost, stream));
    cudaGraph_t graph;
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaStreamIsCapturing(stream, &status));
    printf("capturing after: %d\n", status != cudaStreamCaptureStatusNone);

    size_t nodes = 0;
    CHECK(cudaGraphGetNodes(graph, nullptr, &nodes));
    printf("nodes: %zu\n", nodes);
    std::vector<cudaGraphNode_t> list(nodes);
    CHECK(cudaGraphGetNodes(graph, list.data(), &nodes));
    for (size_t i = 0; i < nodes; i++) {
        cudaGraphNodeType type;
        CHECK(cudaGraphNodeGetType(list[i], &type));
        printf("node %zu: type %d\n", i, (int)type);
    }
    int now = -1;
    CHECK(cudaMemcpy(&now, runs, sizeof(int), cudaMemcpyDeviceToHost));
    printf("nothing ran while capturing: %d, host unchanged: %d\n", now == 0, host[5] == -1.0f);

    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < n; i++) host[i] = (float)(i * round);
        CHECK(cudaGraphLaunch(exec, stream));
        CHECK(cudaStreamSynchronize(stream));
        int wrong = 0;
        for (int i = 0; i < n; i++) wrong += host[i] != (i < 2 ? 0.0f : 6.0f * i * round);
        CHECK(cudaMemcpy(&now, runs, sizeof(int), cudaMemcpyDeviceToHost));
        printf("round %d: runs %d, wrong %d\n", round, now, wrong);
    }
    // The graph is not needed for its executable form.
    CHECK(cudaGraphDestroy(graph));
    for (int i = 0; i < n; i++) host[i] = 1;
    CHECK(cudaGraphLaunch(exec, stream));
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaStreamSynchronize(stream));
    printf("after destruction: %g %g\n", host[0], host[n - 1]);
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFree(runs));
    CHECK(cudaFree(copy));
    CHECK(cudaFree(device));
    CHECK(cudaFreeHost(host));
    printf("ok graph_capture\n");
    return 0;
}
