// SPDX-License-Identifier: Apache-2.0
// Memory that a graph allocates: used by the nodes behind the allocation, freed by a node, or kept
// until the program frees it.

#include "check.h"

__global__ void fill(int* data, int value) { data[threadIdx.x] = value + threadIdx.x; }

__global__ void copy(const int* from, int* to) { to[threadIdx.x] = from[threadIdx.x]; }

static unsigned long long attribute(cudaGraphMemAttributeType which) {
    unsigned long long value = 0;
    CHECK(cudaDeviceGetGraphMemAttribute(0, which, &value));
    return value;
}

static cudaGraphNode_t allocate(cudaGraph_t graph, size_t bytes, int** pointer) {
    cudaMemAllocNodeParams params = {};
    params.poolProps.allocType = cudaMemAllocationTypePinned;
    params.poolProps.location.type = cudaMemLocationTypeDevice;
    params.poolProps.location.id = 0;
    params.bytesize = bytes;
    cudaGraphNode_t node;
    CHECK(cudaGraphAddMemAllocNode(&node, graph, nullptr, 0, &params));
    *pointer = static_cast<int*>(params.dptr);
    return node;
}

static cudaGraphNode_t add_kernel(cudaGraph_t graph, cudaGraphNode_t before, void* function,
                                  void** arguments) {
    cudaKernelNodeParams kernel = {};
    kernel.func = function;
    kernel.gridDim = dim3(1);
    kernel.blockDim = dim3(64);
    kernel.kernelParams = arguments;
    cudaGraphNode_t node;
    CHECK(cudaGraphAddKernelNode(&node, graph, &before, 1, &kernel));
    return node;
}

int main(int argc, char** argv) {
    no_arguments(argc, argv, "allocates memory in graphs");
    int host[64], value = 7, *result, *memory;
    CHECK(cudaMalloc(&result, sizeof host));
    const size_t bytes = 64 * sizeof(int);
    bool right = true;

    // Allocated, used and freed in one graph.
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphNode_t node = allocate(graph, bytes, &memory);
    void* fill_arguments[] = {&memory, &value};
    node = add_kernel(graph, node, (void*)fill, fill_arguments);
    void* copy_arguments[] = {&memory, &result};
    node = add_kernel(graph, node, (void*)copy, copy_arguments);
    cudaGraphNode_t end;
    CHECK(cudaGraphAddMemFreeNode(&end, graph, &node, 1, memory));
    void* freed = nullptr;
    CHECK(cudaGraphMemFreeNodeGetParams(end, &freed));
    std::printf("the free node frees it: %d\n", freed == memory);
    cudaGraph_t clone;
    cudaError_t status = cudaGraphClone(&clone, graph);
    std::printf("a graph with memory cannot be cloned: %d\n", status != cudaSuccess);
    right = right && status != cudaSuccess;
    (void)cudaGetLastError();
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    for (int round = 0; round < 2; round++) {
        CHECK(cudaMemset(result, 0, sizeof host));
        CHECK(cudaGraphLaunch(exec, 0));
        CHECK(cudaMemcpy(host, result, sizeof host, cudaMemcpyDeviceToHost));
        std::printf("round %d: %d ... %d\n", round, host[0], host[63]);
        right = right && host[0] == 7 && host[63] == 70;
    }
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));

    // Allocated by a graph, freed by the program.
    CHECK(cudaGraphCreate(&graph, 0));
    node = allocate(graph, bytes, &memory);
    add_kernel(graph, node, (void*)fill, fill_arguments);
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    CHECK(cudaGraphLaunch(exec, 0));
    CHECK(cudaDeviceSynchronize());
    std::printf("in use: %d\n", attribute(cudaGraphMemAttrUsedMemCurrent) >= bytes);
    status = cudaGraphLaunch(exec, 0);
    std::printf("again before it is freed: %s\n", cudaGetErrorName(status));
    right = right && status == cudaErrorInvalidValue;
    (void)cudaGetLastError();
    CHECK(cudaMemcpy(host, memory, sizeof host, cudaMemcpyDeviceToHost));
    std::printf("kept: %d ... %d\n", host[0], host[63]);
    right = right && host[0] == 7 && host[63] == 70;
    CHECK(cudaFree(memory));
    CHECK(cudaDeviceSynchronize());
    // What is free stays with the graph until it is trimmed.
    CHECK(cudaDeviceGraphMemTrim(0));
    std::printf("in use after trimming: %llu\n", attribute(cudaGraphMemAttrUsedMemCurrent));
    unsigned long long high = attribute(cudaGraphMemAttrUsedMemHigh);
    std::printf("most in use: %s\n", high >= bytes ? "more than that" : "no more than that");
    unsigned long long zero = 0;
    CHECK(cudaDeviceSetGraphMemAttribute(0, cudaGraphMemAttrUsedMemHigh, &zero));
    high = attribute(cudaGraphMemAttrUsedMemHigh);
    std::printf("most in use since then: %llu\n", high);
    right = right && high == 0;
    CHECK(cudaGraphLaunch(exec, 0));
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaFree(memory));
    CHECK(cudaGraphExecDestroy(exec));

    // With this flag a launch frees what the one before has left.
    CHECK(cudaGraphInstantiate(&exec, graph, cudaGraphInstantiateFlagAutoFreeOnLaunch));
    for (int round = 0; round < 3; round++) CHECK(cudaGraphLaunch(exec, 0));
    CHECK(cudaDeviceSynchronize());
    std::printf("launched three times\n");
    CHECK(cudaFree(memory));
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaDeviceGraphMemTrim(0));
    std::printf("reserved after trimming: %llu\n", attribute(cudaGraphMemAttrReservedMemCurrent));
    CHECK(cudaFree(result));
    if (!right) return 1;
    std::printf("ok graph_memory_nodes\n");
    return 0;
}
