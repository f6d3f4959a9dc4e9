// SPDX-License-Identifier: Apache-2.0
// Graphs inside of graphs: a child is a copy of the graph that it was made from, its nodes can be
// found and changed, and it runs as a part of the whole.

#include "check.h"

#include <vector>

__global__ void times_plus(int* place, int factor, int summand) {
    *place = *place * factor + summand;
}

static cudaGraphNode_t add_kernel(cudaGraph_t graph, const cudaGraphNode_t* before, int* place,
                                  int factor, int summand) {
    void* arguments[] = {&place, &factor, &summand};
    cudaKernelNodeParams kernel = {};
    kernel.func = (void*)times_plus;
    kernel.gridDim = dim3(1);
    kernel.blockDim = dim3(1);
    kernel.kernelParams = arguments;
    cudaGraphNode_t node;
    CHECK(cudaGraphAddKernelNode(&node, graph, before, before ? 1 : 0, &kernel));
    return node;
}

static int run(cudaGraphExec_t exec, int* place, int start) {
    CHECK(cudaMemcpy(place, &start, sizeof start, cudaMemcpyHostToDevice));
    CHECK(cudaGraphLaunch(exec, 0));
    int value;
    CHECK(cudaMemcpy(&value, place, sizeof value, cudaMemcpyDeviceToHost));
    return value;
}

int main(int argc, char** argv) {
    no_arguments(argc, argv, "puts graphs into graphs");
    int* place;
    CHECK(cudaMalloc(&place, sizeof(int)));
    cudaGraph_t inner, outer;
    CHECK(cudaGraphCreate(&inner, 0));
    CHECK(cudaGraphCreate(&outer, 0));
    cudaGraphNode_t first = add_kernel(inner, nullptr, place, 10, 1);
    add_kernel(inner, &first, place, 10, 2);

    cudaGraphNode_t begin = add_kernel(outer, nullptr, place, 1, 1), child, again;
    CHECK(cudaGraphAddChildGraphNode(&child, outer, &begin, 1, inner));
    CHECK(cudaGraphAddChildGraphNode(&again, outer, &child, 1, inner));
    add_kernel(outer, &again, place, 10, 9);
    // What happens to the original later is nothing to the copies.
    add_kernel(inner, nullptr, place, 0, 0);
    CHECK(cudaGraphDestroy(inner));

    cudaGraph_t embedded;
    size_t nodes = 0, all = 0;
    CHECK(cudaGraphChildGraphNodeGetGraph(child, &embedded));
    CHECK(cudaGraphGetNodes(embedded, nullptr, &nodes));
    CHECK(cudaGraphGetNodes(outer, nullptr, &all));
    std::printf("nodes of the child %zu, of the whole %zu\n", nodes, all);

    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, outer, 0));
    int result = run(exec, place, 3);
    std::printf("from 3: %d\n", result);
    bool right = result == 412129;

    // A node inside is changed by its name in the embedded graph.
    std::vector<cudaGraphNode_t> list(nodes);
    CHECK(cudaGraphGetNodes(embedded, list.data(), &nodes));
    int factor = 10, summand = 5;
    void* arguments[] = {&place, &factor, &summand};
    cudaKernelNodeParams kernel = {};
    kernel.func = (void*)times_plus;
    kernel.gridDim = dim3(1);
    kernel.blockDim = dim3(1);
    kernel.kernelParams = arguments;
    CHECK(cudaGraphKernelNodeSetParams(list[0], &kernel));
    cudaGraphExec_t changed;
    CHECK(cudaGraphInstantiate(&changed, outer, 0));
    result = run(changed, place, 3);
    std::printf("with a changed node: %d\n", result);
    right = right && result == 452129;
    result = run(exec, place, 3);
    std::printf("as made before: %d\n", result);
    right = right && result == 412129;

    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphExecDestroy(changed));
    CHECK(cudaGraphDestroy(outer));
    CHECK(cudaFree(place));
    if (!right) return 1;
    std::printf("ok graph_child\n");
    return 0;
}
