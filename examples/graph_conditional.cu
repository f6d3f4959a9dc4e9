// SPDX-License-Identifier: Apache-2.0
// Conditional nodes: a loop whose kernel decides when it ends, and branches that a kernel chooses.
//
// Conditional nodes need CUDA 12.4; the second body of an IF and SWITCH need CUDA 12.8.

#include "check.h"

__global__ void step(cudaGraphConditionalHandle handle, int* number, int* steps) {
    int n = *number;
    n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    *number = n;
    *steps += 1;
    if (n == 1) cudaGraphSetConditional(handle, 0);
}

__global__ void choose(cudaGraphConditionalHandle handle, const int* number) {
    cudaGraphSetConditional(handle, *number);
}

__global__ void put(int* place, int value) { *place = value; }

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

static cudaGraphNode_t add_conditional(cudaGraph_t graph, const cudaGraphNode_t* before,
                                       cudaGraphConditionalHandle handle,
                                       cudaGraphConditionalNodeType type, unsigned bodies,
                                       cudaGraph_t* body) {
    cudaGraphNodeParams params = {};
    params.type = cudaGraphNodeTypeConditional;
    params.conditional.handle = handle;
    params.conditional.type = type;
    params.conditional.size = bodies;
    cudaGraphNode_t node;
#if CUDART_VERSION >= 13000
    CHECK(cudaGraphAddNode(&node, graph, before, nullptr, before ? 1 : 0, &params));
#else
    CHECK(cudaGraphAddNode(&node, graph, before, before ? 1 : 0, &params));
#endif
    for (unsigned i = 0; i < bodies; i++) body[i] = params.conditional.phGraph_out[i];
    return node;
}

static int on_host(const int* device) {
    int value;
    CHECK(cudaMemcpy(&value, device, sizeof value, cudaMemcpyDeviceToHost));
    return value;
}

static bool loop(int* number, int* steps) {
    cudaGraph_t graph, body;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphConditionalHandle handle;
    CHECK(cudaGraphConditionalHandleCreate(&handle, graph, 1, cudaGraphCondAssignDefault));
    add_conditional(graph, nullptr, handle, cudaGraphCondTypeWhile, 1, &body);
    void* arguments[] = {&handle, &number, &steps};
    add_kernel(body, nullptr, (void*)step, arguments);
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    bool right = true;
    for (int start : {6, 7, 27}) {
        int expected = 0;
        for (int n = start; n != 1; n = n % 2 == 0 ? n / 2 : 3 * n + 1) expected++;
        CHECK(cudaMemcpy(number, &start, sizeof start, cudaMemcpyHostToDevice));
        CHECK(cudaMemset(steps, 0, sizeof(int)));
        CHECK(cudaGraphLaunch(exec, 0));
        CHECK(cudaDeviceSynchronize());
        std::printf("while: from %d to %d in %d steps\n", start, on_host(number), on_host(steps));
        right = right && on_host(steps) == expected;
    }
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    return right;
}

static bool branches(const char* name, cudaGraphConditionalNodeType type, unsigned bodies,
                     int* number, int* place) {
    cudaGraph_t graph, body[3];
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphConditionalHandle handle;
    CHECK(cudaGraphConditionalHandleCreate(&handle, graph, 0, 0));
    void* choice[] = {&handle, &number};
    cudaGraphNode_t chosen = add_kernel(graph, nullptr, (void*)choose, choice);
    add_conditional(graph, &chosen, handle, type, bodies, body);
    for (unsigned i = 0; i < bodies; i++) {
        int value = 100 + i;
        void* arguments[] = {&place, &value};
        add_kernel(body[i], nullptr, (void*)put, arguments);
    }
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    bool right = true;
    for (int value = 0; value < 4; value++) {
        CHECK(cudaMemcpy(number, &value, sizeof value, cudaMemcpyHostToDevice));
        CHECK(cudaMemset(place, 0, sizeof(int)));
        CHECK(cudaGraphLaunch(exec, 0));
        CHECK(cudaDeviceSynchronize());
        int index = type == cudaGraphCondTypeSwitch ? value : value == 0;
        int expected = index < int(bodies) ? 100 + index : 0;
        std::printf("%s %d: %d\n", name, value, on_host(place));
        right = right && on_host(place) == expected;
    }
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    return right;
}

int main(int argc, char** argv) {
    no_arguments(argc, argv, "runs graphs with conditional nodes");
    int *number, *other;
    CHECK(cudaMalloc(&number, sizeof(int)));
    CHECK(cudaMalloc(&other, sizeof(int)));
    bool right = loop(number, other);
    right = branches("if", cudaGraphCondTypeIf, 1, number, other) && right;
    right = branches("if else", cudaGraphCondTypeIf, 2, number, other) && right;
    right = branches("switch", cudaGraphCondTypeSwitch, 3, number, other) && right;
    CHECK(cudaFree(number));
    CHECK(cudaFree(other));
    if (!right) return 1;
    std::printf("ok graph_conditional\n");
    return 0;
}
