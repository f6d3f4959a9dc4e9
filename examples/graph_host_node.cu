// SPDX-License-Identifier: Apache-2.0
// Host functions in a graph, between copies to and from the memory that they use.

#include "check.h"

struct Work {
    int values[4];
    int calls;
};

static void CUDART_CB halve(void* data) {
    Work* work = static_cast<Work*>(data);
    for (int& value : work->values) value /= 2;
    work->calls++;
}

static void CUDART_CB negate(void* data) {
    Work* work = static_cast<Work*>(data);
    for (int& value : work->values) value = -value;
    work->calls += 100;
}

__global__ void triple(int* values) { values[threadIdx.x] *= 3; }

int main(int argc, char** argv) {
    no_arguments(argc, argv, "calls host functions from a graph");
    int* device;
    Work* work;
    CHECK(cudaMalloc(&device, sizeof work->values));
    CHECK(cudaMallocHost(&work, sizeof *work));
    *work = {};

    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphNode_t upload, kernel, download, host, again;
    CHECK(cudaGraphAddMemcpyNode1D(&upload, graph, nullptr, 0, device, work->values,
                                   sizeof work->values, cudaMemcpyHostToDevice));
    void* arguments[] = {&device};
    cudaKernelNodeParams params = {};
    params.func = (void*)triple;
    params.gridDim = dim3(1);
    params.blockDim = dim3(4);
    params.kernelParams = arguments;
    CHECK(cudaGraphAddKernelNode(&kernel, graph, &upload, 1, &params));
    CHECK(cudaGraphAddMemcpyNode1D(&download, graph, &kernel, 1, work->values, device,
                                   sizeof work->values, cudaMemcpyDeviceToHost));
    cudaHostNodeParams call = {};
    call.fn = halve;
    call.userData = work;
    CHECK(cudaGraphAddHostNode(&host, graph, &download, 1, &call));
    // What the host function has written is what the next copy reads.
    CHECK(cudaGraphAddMemcpyNode1D(&again, graph, &host, 1, device, work->values,
                                   sizeof work->values, cudaMemcpyHostToDevice));

    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    bool right = true;
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < 4; i++) work->values[i] = 10 * round + 2 * i;
        CHECK(cudaGraphLaunch(exec, stream));
        CHECK(cudaStreamSynchronize(stream));
        int back[4];
        CHECK(cudaMemcpy(back, device, sizeof back, cudaMemcpyDeviceToHost));
        std::printf("round %d: calls %d, values %d %d %d %d\n", round, work->calls, back[0],
                    back[1], back[2], back[3]);
        for (int i = 0; i < 4; i++) right = right && back[i] == (10 * round + 2 * i) * 3 / 2;
    }

    call.fn = negate;
    CHECK(cudaGraphExecHostNodeSetParams(exec, host, &call));
    for (int i = 0; i < 4; i++) work->values[i] = i;
    CHECK(cudaGraphLaunch(exec, stream));
    CHECK(cudaStreamSynchronize(stream));
    std::printf("another function: calls %d, values %d %d %d %d\n", work->calls, work->values[0],
                work->values[1], work->values[2], work->values[3]);
    right = right && work->calls == 102 && work->values[3] == -9;

    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFree(device));
    CHECK(cudaFreeHost(work));
    if (!right) return 1;
    std::printf("ok graph_host_node\n");
    return 0;
}
