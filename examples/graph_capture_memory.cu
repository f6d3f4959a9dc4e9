// SPDX-License-Identifier: Apache-2.0
// Stream-ordered memory while a stream is captured: allocations and frees become nodes, and the
// memory belongs to the graph. It is freed by the graph, by another graph, by the program, or by
// the next launch.

#include "check.h"

#include <vector>

static const int N = 1000;
static bool right = true;

static void expect(const char *what, long value, long expected) {
    std::printf("%s: %ld\n", what, value);
    right = right && value == expected;
}

__global__ void fill(int *data, int n, int value) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) data[i] = value + i;
}

__global__ void add(const int *a, const int *b, int *sum, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) sum[i] = a[i] + b[i];
}

static dim3 blocks() { return dim3((N + 255) / 256); }

// How many nodes of each kind that has to do with memory.
static void count(cudaGraph_t graph, int *allocations, int *frees) {
    size_t nodes = 0;
    CHECK(cudaGraphGetNodes(graph, nullptr, &nodes));
    std::vector<cudaGraphNode_t> all(nodes);
    CHECK(cudaGraphGetNodes(graph, all.data(), &nodes));
    *allocations = *frees = 0;
    for (cudaGraphNode_t node : all) {
        cudaGraphNodeType type;
        CHECK(cudaGraphNodeGetType(node, &type));
        *allocations += type == cudaGraphNodeTypeMemAlloc;
        *frees += type == cudaGraphNodeTypeMemFree;
    }
}

static int wrong(const std::vector<int> &data, int first, int step) {
    int wrong = 0;
    for (int i = 0; i < N; i++) wrong += data[i] != first + step * i;
    return wrong;
}

// Temporary memory of two branches: allocated and freed inside.
static void temporaries(cudaStream_t stream, cudaStream_t side, int *result) {
    cudaEvent_t fork, join;
    CHECK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
    CHECK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
    int *a, *b;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    CHECK(cudaMallocAsync(&a, N * sizeof(int), stream));
    CHECK(cudaEventRecord(fork, stream));
    CHECK(cudaStreamWaitEvent(side, fork, 0));
    CHECK(cudaMallocAsync(&b, N * sizeof(int), side));
    fill<<<blocks(), 256, 0, side>>>(b, N, 40);
    fill<<<blocks(), 256, 0, stream>>>(a, N, 2);
    CHECK(cudaEventRecord(join, side));
    CHECK(cudaStreamWaitEvent(stream, join, 0));
    add<<<blocks(), 256, 0, stream>>>(a, b, result, N);
    CHECK(cudaFreeAsync(a, stream));
    CHECK(cudaFreeAsync(b, stream));
    cudaGraph_t graph;
    CHECK(cudaStreamEndCapture(stream, &graph));
    int allocations, frees;
    count(graph, &allocations, &frees);
    expect("allocation nodes", allocations, 2);
    expect("free nodes", frees, 2);
    expect("they are different memory", a != b, 1);
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    std::vector<int> host(N);
    for (int round = 0; round < 3; round++) {
        CHECK(cudaMemsetAsync(result, 0, N * sizeof(int), stream));
        CHECK(cudaGraphLaunch(exec, stream));
        CHECK(cudaMemcpyAsync(host.data(), result, N * sizeof(int), cudaMemcpyDeviceToHost,
                              stream));
        CHECK(cudaStreamSynchronize(stream));
        expect("sums that are wrong", wrong(host, 42, 2), 0);
    }
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaEventDestroy(fork));
    CHECK(cudaEventDestroy(join));
}

static cudaGraph_t capture_fill(cudaStream_t stream, cudaMemPool_t pool, int **memory) {
    cudaGraph_t graph;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    CHECK(cudaMallocFromPoolAsync(memory, N * sizeof(int), pool, stream));
    fill<<<blocks(), 256, 0, stream>>>(*memory, N, 7);
    CHECK(cudaStreamEndCapture(stream, &graph));
    return graph;
}

// Memory that outlives its launch: read by the program, and freed in several ways.
static void kept(cudaStream_t stream) {
    cudaMemPool_t pool;
    CHECK(cudaDeviceGetDefaultMemPool(&pool, 0));
    int *memory;
    cudaGraph_t graph = capture_fill(stream, pool, &memory);
    cudaGraphNode_t node;
    size_t one = 1;
    CHECK(cudaGraphGetRootNodes(graph, &node, &one));
    cudaMemAllocNodeParams params = {};
    CHECK(cudaGraphMemAllocNodeGetParams(node, &params));
    expect("bytes of the node", params.bytesize, N * sizeof(int));
    expect("the node's address is the call's", params.dptr == memory, 1);
    expect("on device", params.poolProps.location.id, 0);

    // Freed by a graph of its own, which is captured too.
    cudaGraph_t free_graph;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    CHECK(cudaFreeAsync(memory, stream));
    CHECK(cudaStreamEndCapture(stream, &free_graph));
    cudaGraphExec_t exec, free_exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    CHECK(cudaGraphInstantiate(&free_exec, free_graph, 0));
    std::vector<int> host(N);
    CHECK(cudaGraphLaunch(exec, stream));
    CHECK(cudaMemcpyAsync(host.data(), memory, N * sizeof(int), cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    expect("words that are wrong", wrong(host, 7, 1), 0);
    CHECK(cudaGraphLaunch(free_exec, stream));

    // Freed in the order of the stream, and at once.
    CHECK(cudaGraphLaunch(exec, stream));
    CHECK(cudaFreeAsync(memory, stream));
    CHECK(cudaGraphLaunch(exec, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaFree(memory));

    // A second launch before the memory is free.
    CHECK(cudaGraphLaunch(exec, stream));
    cudaError_t status = cudaGraphLaunch(exec, stream);
    std::printf("again before it is free: %s\n", cudaGetErrorName(status));
    right = right && status == cudaErrorInvalidValue;
    (void)cudaGetLastError();
    CHECK(cudaGraphLaunch(free_exec, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaGraphExecDestroy(free_exec));
    CHECK(cudaGraphDestroy(free_graph));
    CHECK(cudaGraphExecDestroy(exec));

    // The next launch frees it.
    CHECK(cudaGraphInstantiate(&exec, graph, cudaGraphInstantiateFlagAutoFreeOnLaunch));
    for (int round = 0; round < 3; round++) CHECK(cudaGraphLaunch(exec, stream));
    CHECK(cudaMemcpyAsync(host.data(), memory, N * sizeof(int), cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    expect("words that are wrong after three launches", wrong(host, 7, 1), 0);
    CHECK(cudaFreeAsync(memory, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
}

// Memory that no graph allocates cannot be freed by one.
static void foreign(cudaStream_t stream) {
    int *plain;
    CHECK(cudaMallocAsync(&plain, N * sizeof(int), stream));
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cudaError_t status = cudaFreeAsync(plain, stream);
    std::printf("freeing other memory in a capture: %s\n", cudaGetErrorName(status));
    right = right && status == cudaErrorInvalidValue;
    (void)cudaGetLastError();
    cudaGraph_t graph = nullptr;
    (void)cudaStreamEndCapture(stream, &graph);
    if (graph != nullptr) CHECK(cudaGraphDestroy(graph));
    (void)cudaGetLastError();
    CHECK(cudaFreeAsync(plain, stream));
    CHECK(cudaStreamSynchronize(stream));
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "captures stream-ordered allocations");
    cudaStream_t stream, side;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
    int *result;
    CHECK(cudaMalloc(&result, N * sizeof(int)));
    temporaries(stream, side, result);
    kept(stream);
    foreign(stream);
    CHECK(cudaDeviceGraphMemTrim(0));
    unsigned long long reserved = 1;
    CHECK(cudaDeviceGetGraphMemAttribute(0, cudaGraphMemAttrReservedMemCurrent, &reserved));
    expect("reserved after trimming", reserved, 0);
    CHECK(cudaFree(result));
    CHECK(cudaStreamDestroy(side));
    CHECK(cudaStreamDestroy(stream));
    return report("graph_capture_memory", right);
}
