// SPDX-License-Identifier: Apache-2.0
// Stream memory operations in graphs: nodes that write words and wait for words, built and
// captured, asked about and changed.

#include "driver.h"

#include <vector>

DRIVER_FUNCTION(cuStreamWriteValue32, 11070);
DRIVER_FUNCTION(cuStreamWriteValue64, 11070);
DRIVER_FUNCTION(cuStreamWaitValue32, 11070);
DRIVER_FUNCTION(cuStreamBatchMemOp, 11070);
DRIVER_FUNCTION(cuGraphAddBatchMemOpNode, 11070);
DRIVER_FUNCTION(cuGraphBatchMemOpNodeGetParams, 11070);
DRIVER_FUNCTION(cuGraphBatchMemOpNodeSetParams, 11070);
DRIVER_FUNCTION(cuGraphExecBatchMemOpNodeSetParams, 11070);
DRIVER_FUNCTION(cuGraphNodeGetType, 10000);
DRIVER_FUNCTION(cuCtxGetCurrent, 4000);

static bool right = true;

static void expect(const char *what, long long value, long long expected) {
    std::printf("%s: %lld\n", what, value);
    right = right && value == expected;
}

static CUdeviceptr address(const void *pointer) {
    return reinterpret_cast<CUdeviceptr>(pointer);
}

__global__ void add(unsigned *word, unsigned value) { *word += value; }

static CUstreamBatchMemOpParams write(const void *word, unsigned value) {
    CUstreamBatchMemOpParams operation = {};
    operation.writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    operation.writeValue.address = address(word);
    operation.writeValue.value = value;
    return operation;
}

static CUstreamBatchMemOpParams wait(const void *word, unsigned value, unsigned flags) {
    CUstreamBatchMemOpParams operation = {};
    operation.waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
    operation.waitValue.address = address(word);
    operation.waitValue.value = value;
    operation.waitValue.flags = flags;
    return operation;
}

static CUDA_BATCH_MEM_OP_NODE_PARAMS batch(std::vector<CUstreamBatchMemOpParams> &operations) {
    CUDA_BATCH_MEM_OP_NODE_PARAMS params = {};
    CHECK_DRIVER(driver::cuCtxGetCurrent(&params.ctx));
    params.count = static_cast<unsigned>(operations.size());
    params.paramArray = operations.data();
    return params;
}

static unsigned read(const unsigned *word, cudaStream_t stream) {
    unsigned value = 0;
    CHECK(cudaMemcpyAsync(&value, word, sizeof value, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    return value;
}

// A node that writes, a kernel, a node that waits for what the kernel made of it and writes more.
static void built(unsigned *words, cudaStream_t stream) {
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    std::vector<CUstreamBatchMemOpParams> first = {write(words, 40), write(words + 1, 1)};
    std::vector<CUstreamBatchMemOpParams> second = {wait(words, 42, CU_STREAM_WAIT_VALUE_EQ),
                                                    write(words + 2, 3)};
    CUDA_BATCH_MEM_OP_NODE_PARAMS params = batch(first);
    cudaGraphNode_t begin, kernel, end;
    CHECK_DRIVER(driver::cuGraphAddBatchMemOpNode(&begin, graph, nullptr, 0, &params));
    unsigned two = 2;
    void *arguments[] = {&words, &two};
    cudaKernelNodeParams launch = {};
    launch.func = reinterpret_cast<void *>(add);
    launch.gridDim = launch.blockDim = dim3(1);
    launch.kernelParams = arguments;
    CHECK(cudaGraphAddKernelNode(&kernel, graph, &begin, 1, &launch));
    params = batch(second);
    CHECK_DRIVER(driver::cuGraphAddBatchMemOpNode(&end, graph, &kernel, 1, &params));
    CUgraphNodeType type;
    CHECK_DRIVER(driver::cuGraphNodeGetType(end, &type));
    expect("a batch node", type == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, 1);
    CUDA_BATCH_MEM_OP_NODE_PARAMS known = {};
    CHECK_DRIVER(driver::cuGraphBatchMemOpNodeGetParams(end, &known));
    expect("operations", known.count, 2);
    expect("it waits for", known.paramArray[0].waitValue.value, 42);
    expect("it writes", known.paramArray[1].writeValue.value, 3);
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    CHECK(cudaGraphLaunch(exec, stream));
    expect("after the kernel", read(words, stream), 42);
    expect("written before it", read(words + 1, stream), 1);
    expect("written after it", read(words + 2, stream), 3);

    // Other values and places in the executable graph, which the graph does not know of.
    second = {wait(words + 1, 1, CU_STREAM_WAIT_VALUE_GEQ), write(words + 3, 77)};
    params = batch(second);
    CHECK_DRIVER(driver::cuGraphExecBatchMemOpNodeSetParams(exec, end, &params));
    CHECK(cudaGraphLaunch(exec, stream));
    expect("written elsewhere", read(words + 3, stream), 77);
    CHECK_DRIVER(driver::cuGraphBatchMemOpNodeGetParams(end, &known));
    expect("the graph writes still", known.paramArray[1].writeValue.value, 3);

    // Another number of operations, or others, make another graph of it.
    std::vector<CUstreamBatchMemOpParams> fewer = {write(words, 1)};
    params = batch(fewer);
    CUresult status = driver::cuGraphExecBatchMemOpNodeSetParams(exec, end, &params);
    expect("fewer operations are refused", status == CUDA_ERROR_INVALID_VALUE, 1);
    CHECK_DRIVER(driver::cuGraphBatchMemOpNodeSetParams(end, &params));
    CHECK_DRIVER(driver::cuGraphBatchMemOpNodeGetParams(end, &known));
    expect("operations of the changed node", known.count, 1);
    cudaGraphExecUpdateResultInfo info = {};
    cudaError_t updated = cudaGraphExecUpdate(exec, graph, &info);
    std::printf("updating with it: %s\n", cudaGetErrorName(updated));
    right = right && updated == cudaErrorGraphExecUpdateFailure;
    (void)cudaGetLastError();
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
}

// Calls on a captured stream; the graph waits for a word that another stream writes.
static void captured(unsigned *words, cudaStream_t stream, cudaStream_t other) {
    cudaGraph_t graph;
    std::vector<CUstreamBatchMemOpParams> both = {write(words, 5), write(words + 1, 6)};
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    CHECK_DRIVER(driver::cuStreamBatchMemOp(stream, 2, both.data(), 0));
    CHECK_DRIVER(driver::cuStreamWaitValue32(stream, address(words + 4), 9,
                                             CU_STREAM_WAIT_VALUE_GEQ));
    add<<<1, 1, 0, stream>>>(words, 100);
    CHECK_DRIVER(driver::cuStreamWriteValue32(stream, address(words + 5), 8, 0));
    CHECK_DRIVER(driver::cuStreamWriteValue64(stream, address(words + 6), 1ULL << 40, 0));
    CHECK(cudaStreamEndCapture(stream, &graph));
    size_t nodes = 0;
    CHECK(cudaGraphGetNodes(graph, nullptr, &nodes));
    expect("captured nodes", nodes, 5);
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    for (int round = 0; round < 2; round++) {
        CHECK(cudaMemset(words, 0, 64));
        CHECK(cudaDeviceSynchronize());
        CHECK(cudaGraphLaunch(exec, stream));
        const bool held = cudaStreamQuery(stream) == cudaErrorNotReady;
        expect("the graph waits", held, 1);
        CHECK_DRIVER(driver::cuStreamWriteValue32(other, address(words + 4), 9, 0));
        CHECK(cudaStreamSynchronize(stream));
        expect("written and added to", read(words, stream), 105);
        expect("written with it", read(words + 1, stream), 6);
        expect("written behind the wait", read(words + 5, stream), 8);
        expect("the upper half of 64 bits", read(words + 7, stream), 256);
    }
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "writes words and waits for words in graphs");
    cudaFuncAttributes attributes;
    CHECK(cudaFuncGetAttributes(&attributes, add));
    unsigned *words;
    CHECK(cudaMalloc(&words, 64));
    CHECK(cudaMemset(words, 0, 64));
    cudaStream_t stream, other;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    CHECK(cudaDeviceSynchronize());
    built(words, stream);
    captured(words, stream, other);
    CHECK(cudaStreamDestroy(other));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFree(words));
    return report("graph_batch_mem_ops", right);
}
