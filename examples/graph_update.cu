// SPDX-License-Identifier: Apache-2.0
// Changes executable graphs: single nodes, all parameters of a graph of the same shape, and nodes
// that are left out; and what is refused.

#include "check.h"

__global__ void add(int* place, int value) { *place += value; }

__global__ void multiply(int* place, int value) { *place *= value; }

static cudaGraphNode_t add_kernel(cudaGraph_t graph, const cudaGraphNode_t* before, void* function,
                                  void** arguments) {
    cudaKernelNodeParams kernel = {};
    kernel.func = function;
    kernel.gridDim = dim3(1);
    kernel.blockDim = dim3(1);
    kernel.kernelParams = arguments;
    cudaGraphNode_t node;
    CHECK(cudaGraphAddKernelNode(&node, graph, before, before ? 1 : 0, &kernel));
    return node;
}

static cudaGraph_t chain(int* place, int summand, int factor, cudaGraphNode_t nodes[3]) {
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaMemsetParams memset = {};
    memset.dst = place;
    memset.elementSize = 4;
    memset.width = 1;
    memset.height = 1;
    CHECK(cudaGraphAddMemsetNode(&nodes[0], graph, nullptr, 0, &memset));
    void* sum[] = {&place, &summand};
    nodes[1] = add_kernel(graph, &nodes[0], (void*)add, sum);
    void* product[] = {&place, &factor};
    nodes[2] = add_kernel(graph, &nodes[1], (void*)multiply, product);
    return graph;
}

static int run(cudaGraphExec_t exec, const int* place) {
    CHECK(cudaGraphLaunch(exec, 0));
    int value;
    CHECK(cudaMemcpy(&value, place, sizeof value, cudaMemcpyDeviceToHost));
    return value;
}

static int errors = 0;

static void expect(const char* what, int value, int expected) {
    std::printf("%s: %d\n", what, value);
    errors += value != expected;
}

static void expect_refused(const char* what, cudaGraphExec_t exec, cudaGraph_t graph,
                           cudaGraphExecUpdateResult expected) {
    cudaGraphExecUpdateResultInfo info = {};
    cudaError_t status = cudaGraphExecUpdate(exec, graph, &info);
    (void)cudaGetLastError();
    std::printf("%s: %s, result %d\n", what, cudaGetErrorName(status), int(info.result));
    errors += status != cudaErrorGraphExecUpdateFailure || info.result != expected;
}

int main(int argc, char** argv) {
    no_arguments(argc, argv, "updates executable graphs");
    int* place;
    CHECK(cudaMalloc(&place, sizeof(int)));
    cudaGraphNode_t nodes[3], others[3];
    cudaGraph_t graph = chain(place, 2, 5, nodes);
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    expect("as made", run(exec, place), 10);

    // One node: its function too may change.
    int value = 3;
    void* arguments[] = {&place, &value};
    cudaKernelNodeParams kernel = {};
    kernel.func = (void*)add;
    kernel.gridDim = dim3(1);
    kernel.blockDim = dim3(1);
    kernel.kernelParams = arguments;
    CHECK(cudaGraphExecKernelNodeSetParams(exec, nodes[2], &kernel));
    expect("another kernel", run(exec, place), 5);
    cudaMemsetParams memset = {};
    memset.dst = place;
    memset.value = 7;
    memset.elementSize = 4;
    memset.width = 1;
    memset.height = 1;
    CHECK(cudaGraphExecMemsetNodeSetParams(exec, nodes[0], &memset));
    expect("another value", run(exec, place), 12);

    // The graph itself has not changed.
    cudaGraphExec_t fresh;
    CHECK(cudaGraphInstantiate(&fresh, graph, 0));
    expect("the graph", run(fresh, place), 10);

    // All parameters at once.
    cudaGraph_t other = chain(place, 4, 11, others);
    cudaGraphExecUpdateResultInfo info = {};
    CHECK(cudaGraphExecUpdate(exec, other, &info));
    std::printf("update: result %d\n", int(info.result));
    expect("updated", run(exec, place), 44);

    // Nodes can be left out.
    CHECK(cudaGraphNodeSetEnabled(exec, nodes[2], 0));
    unsigned enabled = 1;
    CHECK(cudaGraphNodeGetEnabled(exec, nodes[2], &enabled));
    std::printf("enabled: %u\n", enabled);
    expect("without the product", run(exec, place), 4);
    CHECK(cudaGraphNodeSetEnabled(exec, nodes[2], 1));
    expect("with it again", run(exec, place), 44);

    // Another shape is refused, and the executable graph stays as it is.
    cudaGraphNode_t more;
    CHECK(cudaGraphAddEmptyNode(&more, other, nullptr, 0));
    expect_refused("one more node", exec, other, cudaGraphExecUpdateErrorTopologyChanged);
    cudaGraph_t swapped;
    CHECK(cudaGraphCreate(&swapped, 0));
    cudaGraphNode_t first;
    CHECK(cudaGraphAddEmptyNode(&first, swapped, nullptr, 0));
    cudaGraphNode_t second = add_kernel(swapped, &first, (void*)add, arguments);
    add_kernel(swapped, &second, (void*)add, arguments);
    expect_refused("another kind of node", exec, swapped,
                   cudaGraphExecUpdateErrorNodeTypeChanged);
    expect("after refusals", run(exec, place), 44);

    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphExecDestroy(fresh));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaGraphDestroy(other));
    CHECK(cudaGraphDestroy(swapped));
    CHECK(cudaFree(place));
    if (errors != 0) return 1;
    std::printf("ok graph_update\n");
    return 0;
}
