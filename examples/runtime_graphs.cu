// SPDX-License-Identifier: Apache-2.0
//
// Graphs by the runtime's own functions: nodes of each kind, made, asked for and changed, in a graph
// and in what was instantiated from it.

#include "check.h"

#include <vector>

static const int COUNT = 64;

__device__ int table[COUNT];

__global__ void add(int *out, int number) {
    out[threadIdx.x] += number;
}

static void CUDART_CB count_up(void *counter) {
    ++*static_cast<int *>(counter);
}

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

static std::vector<int> values(const int *device) {
    std::vector<int> host(COUNT);
    CHECK(cudaMemcpy(host.data(), device, COUNT * sizeof(int), cudaMemcpyDeviceToHost));
    return host;
}

static bool all(const std::vector<int> &found, int wanted) {
    for (int value : found) {
        if (value != wanted) {
            return false;
        }
    }
    return true;
}

static cudaKernelNodeParams kernel_params(void **arguments) {
    cudaKernelNodeParams params = {};
    params.func = reinterpret_cast<void *>(add);
    params.gridDim = 1;
    params.blockDim = COUNT;
    params.kernelParams = arguments;
    return params;
}

static cudaMemsetParams memset_params(int *device, unsigned value) {
    cudaMemsetParams params = {};
    params.dst = device;
    params.value = value;
    params.elementSize = 4;
    params.width = COUNT;
    params.height = 1;
    return params;
}

static void run(cudaGraphExec_t exec, cudaStream_t stream) {
    CHECK(cudaGraphLaunch(exec, stream));
    CHECK(cudaStreamSynchronize(stream));
}

static bool kernels(int *device, cudaStream_t stream) {
    int number = 5, other = 7;
    void *arguments[] = {&device, &number}, *others[] = {&device, &other};
    cudaKernelNodeParams params = kernel_params(arguments), told;
    const cudaMemsetParams filling = memset_params(device, 1);
    cudaGraph_t graph;
    cudaGraphNode_t fill, launch;
    cudaGraphExec_t exec;
    CHECK(cudaGraphCreate(&graph, 0));
    CHECK(cudaGraphAddMemsetNode(&fill, graph, nullptr, 0, &filling));
    CHECK(cudaGraphAddKernelNode(&launch, graph, &fill, 1, &params));
    CHECK(cudaGraphKernelNodeGetParams(launch, &told));
    bool right = tell("a node tells its kernel", told.func == params.func && told.gridDim.x == 1 &&
                                                     told.blockDim.x == COUNT);
    cudaMemsetParams filled;
    CHECK(cudaGraphMemsetNodeGetParams(fill, &filled));
    right &= tell("and what it fills", filled.dst == device && filled.width == COUNT &&
                                           filled.value == 1 && filled.elementSize == 4);
#if CUDART_VERSION >= 13020
    cudaGraphNodeParams known = {};
    CHECK(cudaGraphNodeGetParams(launch, &known));
    right &= tell("or in the form of all nodes", known.type == cudaGraphNodeTypeKernel &&
                                                     known.kernel.func == params.func &&
                                                     known.kernel.blockDim.x == COUNT);
    CHECK(cudaGraphNodeGetParams(fill, &known));
    right &= tell("as for a memset", known.type == cudaGraphNodeTypeMemset &&
                                         known.memset.dst == device && known.memset.value == 1);
#endif
    CHECK(cudaGraphInstantiateWithFlags(&exec, graph, 0));
    CHECK(cudaGraphUpload(exec, stream));
    run(exec, stream);
    right &= tell("a kernel after a memset", all(values(device), 6));
    params = kernel_params(others);
    CHECK(cudaGraphExecKernelNodeSetParams(exec, launch, &params));
    run(exec, stream);
    right &= tell("with another argument", all(values(device), 8));
    const cudaMemsetParams more = memset_params(device, 100);
    CHECK(cudaGraphExecMemsetNodeSetParams(exec, fill, &more));
    run(exec, stream);
    right &= tell("after another memset", all(values(device), 107));
    CHECK(cudaGraphKernelNodeSetParams(launch, &params));
    CHECK(cudaGraphMemsetNodeSetParams(fill, &more));
    cudaGraphExecUpdateResultInfo result;
    CHECK(cudaGraphExecUpdate(exec, graph, &result));
    right &= tell("an update succeeds", result.result == cudaGraphExecUpdateSuccess);
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    return right;
}

static bool copies(int *device, cudaStream_t stream) {
    std::vector<int> sent(COUNT, 3), back(COUNT, 0), others(COUNT, 9);
    const size_t bytes = COUNT * sizeof(int);
    cudaGraph_t graph;
    cudaGraphNode_t up, down;
    cudaGraphExec_t exec;
    CHECK(cudaGraphCreate(&graph, 0));
    CHECK(cudaGraphAddMemcpyNodeToSymbol(&up, graph, nullptr, 0, table, sent.data(), bytes, 0,
                                         cudaMemcpyHostToDevice));
    CHECK(cudaGraphAddMemcpyNodeFromSymbol(&down, graph, &up, 1, back.data(), table, bytes, 0,
                                           cudaMemcpyDeviceToHost));
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    run(exec, stream);
    bool right = tell("through a symbol and back", back == sent);
    CHECK(cudaGraphExecMemcpyNodeSetParamsToSymbol(exec, up, table, others.data(), bytes, 0,
                                                   cudaMemcpyHostToDevice));
    CHECK(cudaGraphExecMemcpyNodeSetParamsFromSymbol(exec, down, back.data(), table, bytes, 0,
                                                     cudaMemcpyDeviceToHost));
    run(exec, stream);
    right &= tell("from elsewhere", back == others);
    CHECK(cudaGraphExecDestroy(exec));

    CHECK(cudaGraphMemcpyNodeSetParamsToSymbol(up, table, sent.data(), bytes, 0,
                                               cudaMemcpyHostToDevice));
    CHECK(cudaGraphMemcpyNodeSetParamsFromSymbol(down, back.data(), table, bytes, 0,
                                                 cudaMemcpyDeviceToHost));
    cudaMemcpy3DParms told;
    CHECK(cudaGraphMemcpyNodeGetParams(up, &told));
    right &= tell("a copy tells what it copies", told.srcPtr.ptr == sent.data() &&
                                                     told.extent.width == bytes &&
                                                     told.extent.height == 1 &&
                                                     told.kind == cudaMemcpyHostToDevice);
    unsigned long long flags = 99;
    cudaGraphInstantiateParams instantiate = {};
    CHECK(cudaGraphInstantiateWithParams(&exec, graph, &instantiate));
    CHECK(cudaGraphExecGetFlags(exec, &flags));
    run(exec, stream);
    right &= tell("instantiated once more", instantiate.result_out == cudaGraphInstantiateSuccess &&
                                                flags == 0 && back == sent);
    CHECK(cudaGraphExecMemcpyNodeSetParams1D(exec, up, device, others.data(), bytes,
                                             cudaMemcpyHostToDevice));
    run(exec, stream);
    right &= tell("a copy goes elsewhere", all(values(device), 9));
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    return right;
}

static bool any_node(int *device, cudaStream_t stream) {
    int number = 2, counter = 0;
    void *arguments[] = {&device, &number};
    cudaGraph_t graph;
    cudaGraphNode_t fill, launch, host;
    cudaGraphExec_t exec;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphNodeParams filling = {};
    filling.type = cudaGraphNodeTypeMemset;
    filling.memset.dst = device;
    filling.memset.elementSize = 4;
    filling.memset.width = COUNT;
    filling.memset.height = 1;
    CHECK(cudaGraphAddNode(&fill, graph, nullptr, nullptr, 0, &filling));
    cudaGraphNodeParams kernel = {};
    kernel.type = cudaGraphNodeTypeKernel;
    kernel.kernel.func = reinterpret_cast<void *>(add);
    kernel.kernel.gridDim = 1;
    kernel.kernel.blockDim = COUNT;
    kernel.kernel.kernelParams = arguments;
    CHECK(cudaGraphAddNode(&launch, graph, &fill, nullptr, 1, &kernel));
    cudaHostNodeParams calling = {count_up, &counter};
    CHECK(cudaGraphAddHostNode(&host, graph, &launch, 1, &calling));
    cudaHostNodeParams told;
    CHECK(cudaGraphHostNodeGetParams(host, &told));
    bool right = tell("a host node tells its function", told.fn == count_up &&
                                                            told.userData == &counter);
    CHECK(cudaGraphHostNodeSetParams(host, &calling));
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    run(exec, stream);
    right &= tell("nodes of any kind", all(values(device), 2) && counter == 1);
    number = 40;
    CHECK(cudaGraphExecNodeSetParams(exec, launch, &kernel));
    run(exec, stream);
    right &= tell("changed by any node's function", all(values(device), 40) && counter == 2);
    size_t nodes = 0, edges = 0, roots = 0;
    CHECK(cudaGraphGetNodes(graph, nullptr, &nodes));
    CHECK(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges));
    CHECK(cudaGraphGetRootNodes(graph, nullptr, &roots));
    right &= tell("counted", nodes == 3 && edges == 2 && roots == 1);
    cudaGraphNodeType type;
    CHECK(cudaGraphNodeGetType(host, &type));
    right &= tell("of their types", type == cudaGraphNodeTypeHost);
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    return right;
}

static bool captured(int *device, cudaStream_t stream) {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaStreamCaptureStatus status;
    unsigned long long id = 0;
    CHECK(cudaMemset(device, 0, COUNT * sizeof(int)));
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    add<<<1, COUNT, 0, stream>>>(device, 1);
    CHECK(cudaStreamGetCaptureInfo(stream, &status, &id, &graph, nullptr, nullptr, nullptr));
    bool right = tell("a stream that captures says so", status == cudaStreamCaptureStatusActive);
    right &= tell("it cannot be waited for",
                  cudaStreamSynchronize(stream) == cudaErrorStreamCaptureUnsupported);
    cudaGetLastError();
    right &= tell("which spoils the capture",
                  cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
    cudaGetLastError();
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    add<<<1, COUNT, 0, stream>>>(device, 1);
    CHECK_LAUNCH();
    add<<<1, COUNT, 0, stream>>>(device, 2);
    CHECK_LAUNCH();
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    run(exec, stream);
    run(exec, stream);
    right &= tell("what was captured runs twice", all(values(device), 6));
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Graphs by the runtime's own functions.");
    int *device;
    cudaStream_t stream;
    CHECK(cudaMalloc(&device, COUNT * sizeof(int)));
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    bool right = kernels(device, stream);
    right &= copies(device, stream);
    right &= any_node(device, stream);
    right &= captured(device, stream);
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFree(device));
    return report("runtime_graphs", right);
}
