// SPDX-License-Identifier: Apache-2.0
// Builds a graph node by node: copies, a memset, kernels and an empty node with dependencies.

#include "check.h"

#include <vector>

__global__ void square(const float* from, float* to, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) to[i] = from[i] * from[i];
}

__global__ void sum(const float* data, float* result, int n) {
    __shared__ float part[256];
    float mine = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) mine += data[i];
    part[threadIdx.x] = mine;
    __syncthreads();
    for (int step = 128; step > 0; step /= 2) {
        if (threadIdx.x < step) part[threadIdx.x] += part[threadIdx.x + step];
        __syncthreads();
    }
    if (threadIdx.x == 0) *result += part[0];
}

int main(int argc, char** argv) {
    no_arguments(argc, argv, "builds a graph node by node");
    int n = 1000;
    std::vector<float> host(n);
    for (int i = 0; i < n; i++) host[i] = float(i % 7);
    float *from, *to, *result, answer = -1;
    CHECK(cudaMalloc(&from, n * sizeof(float)));
    CHECK(cudaMalloc(&to, n * sizeof(float)));
    CHECK(cudaMalloc(&result, sizeof(float)));

    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphNode_t upload, clear, both, squares, sums, download;
    CHECK(cudaGraphAddMemcpyNode1D(&upload, graph, nullptr, 0, from, host.data(),
                                   n * sizeof(float), cudaMemcpyHostToDevice));
    cudaMemsetParams memset = {};
    memset.dst = result;
    memset.elementSize = 4;
    memset.width = 1;
    memset.height = 1;
    CHECK(cudaGraphAddMemsetNode(&clear, graph, nullptr, 0, &memset));
    cudaGraphNode_t roots[] = {upload, clear};
    CHECK(cudaGraphAddEmptyNode(&both, graph, roots, 2));

    cudaKernelNodeParams kernel = {};
    void* square_arguments[] = {&from, &to, &n};
    kernel.func = (void*)square;
    kernel.gridDim = dim3((n + 127) / 128);
    kernel.blockDim = dim3(128);
    kernel.kernelParams = square_arguments;
    CHECK(cudaGraphAddKernelNode(&squares, graph, &both, 1, &kernel));
    void* sum_arguments[] = {&to, &result, &n};
    kernel.func = (void*)sum;
    kernel.gridDim = dim3(1);
    kernel.blockDim = dim3(256);
    kernel.kernelParams = sum_arguments;
    CHECK(cudaGraphAddKernelNode(&sums, graph, &squares, 1, &kernel));
    CHECK(cudaGraphAddMemcpyNode1D(&download, graph, &sums, 1, &answer, result, sizeof(float),
                                   cudaMemcpyDeviceToHost));

    size_t nodes = 0, root_count = 0;
    CHECK(cudaGraphGetNodes(graph, nullptr, &nodes));
    CHECK(cudaGraphGetRootNodes(graph, nullptr, &root_count));
    std::printf("nodes %zu, roots %zu\n", nodes, root_count);

    // What the nodes were made with can be read back; arguments were copied when they were added.
    cudaKernelNodeParams known = {};
    CHECK(cudaGraphKernelNodeGetParams(squares, &known));
    std::printf("squares: grid %u, block %u, n %d\n", known.gridDim.x, known.blockDim.x,
                *static_cast<int*>(known.kernelParams[2]));
    cudaMemsetParams cleared = {};
    CHECK(cudaGraphMemsetNodeGetParams(clear, &cleared));
    std::printf("clears the result: %d, width %zu\n", cleared.dst == result, cleared.width);

    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    bool right = true;
    for (int round = 1; round <= 3; round++) {
        float expected = 0;
        for (int i = 0; i < n; i++) {
            host[i] = float((i * round) % 7);
            expected += host[i] * host[i];
        }
        CHECK(cudaGraphLaunch(exec, stream));
        CHECK(cudaStreamSynchronize(stream));
        std::printf("round %d: sum of squares %g\n", round, answer);
        right = right && answer == expected;
    }

    // Without its dependency on the clearing, a graph has the same nodes and one edge less.
    CHECK(cudaGraphDestroyNode(clear));
    CHECK(cudaGraphGetNodes(graph, nullptr, &nodes));
    CHECK(cudaGraphGetRootNodes(graph, nullptr, &root_count));
    std::printf("without the memset: nodes %zu, roots %zu\n", nodes, root_count);
    // The executable graph is a copy and still clears.
    CHECK(cudaGraphLaunch(exec, stream));
    CHECK(cudaStreamSynchronize(stream));
    std::printf("as before: %g\n", answer);

    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFree(from));
    CHECK(cudaFree(to));
    CHECK(cudaFree(result));
    if (!right) return 1;
    std::printf("ok graph_explicit\n");
    return 0;
}
