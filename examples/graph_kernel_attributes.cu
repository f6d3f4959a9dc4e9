// SPDX-License-Identifier: Apache-2.0
// Launch attributes of kernel nodes: clusters of blocks and cooperative kernels, set, copied,
// captured and asked for.
// nvcc: -arch=sm_90
// device: compute capability 9.0

#include "check.h"

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

static bool right = true;

static void expect(const char *what, long value, long expected) {
    std::printf("%s: %ld\n", what, value);
    right = right && value == expected;
}

constexpr int BLOCKS = 8;

// Every block writes the sum of its cluster's block numbers, read from their shared memory.
__global__ void sum_cluster(int *out) {
    __shared__ int own;
    cg::cluster_group cluster = cg::this_cluster();
    own = blockIdx.x;
    cluster.sync();
    int sum = 0;
    for (unsigned rank = 0; rank < cluster.num_blocks(); rank++)
        sum += *cluster.map_shared_rank(&own, rank);
    out[blockIdx.x] = 100 * cluster.num_blocks() + sum;
    cluster.sync();
}

// Every block sees what all have added.
__global__ void sum_grid(int *sum, int *seen) {
    atomicAdd(sum, blockIdx.x + 1);
    cg::this_grid().sync();
    seen[blockIdx.x] = *sum;
}

static int wrong(const int *device, unsigned size) {
    int host[BLOCKS], wrong = 0;
    CHECK(cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost));
    for (unsigned block = 0; block < BLOCKS; block++) {
        const unsigned first = block / size * size;
        unsigned sum = 0;
        for (unsigned other = first; other < first + size; other++) sum += other;
        wrong += host[block] != static_cast<int>(100 * size + sum);
    }
    return wrong;
}

static cudaKernelNodeParams kernel(void *function, void **arguments) {
    cudaKernelNodeParams params = {};
    params.func = function;
    params.gridDim = dim3(BLOCKS);
    params.blockDim = dim3(1);
    params.kernelParams = arguments;
    return params;
}

static cudaLaunchAttributeValue cluster_of(unsigned blocks) {
    cudaLaunchAttributeValue value = {};
    value.clusterDim.x = blocks;
    value.clusterDim.y = value.clusterDim.z = 1;
    return value;
}

static void clusters(int *out, cudaStream_t stream) {
    void *arguments[] = {&out};
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaKernelNodeParams params = kernel(reinterpret_cast<void *>(sum_cluster), arguments);
    cudaGraphNode_t node, other;
    CHECK(cudaGraphAddKernelNode(&node, graph, nullptr, 0, &params));
    cudaGraphExec_t exec;
    for (unsigned size = 1; size <= 8; size *= 2) {
        cudaLaunchAttributeValue value = cluster_of(size);
        CHECK(cudaGraphKernelNodeSetAttribute(node, cudaLaunchAttributeClusterDimension, &value));
        CHECK(cudaGraphInstantiate(&exec, graph, 0));
        CHECK(cudaGraphLaunch(exec, stream));
        CHECK(cudaStreamSynchronize(stream));
        std::printf("clusters of %u: ", size);
        expect("wrong blocks", wrong(out, size), 0);
        CHECK(cudaGraphExecDestroy(exec));
    }

    // Copied to another node.
    CHECK(cudaGraphAddKernelNode(&other, graph, &node, 1, &params));
    CHECK(cudaGraphKernelNodeCopyAttributes(other, node));
    cudaLaunchAttributeValue known = {};
    CHECK(cudaGraphKernelNodeGetAttribute(other, cudaLaunchAttributeClusterDimension, &known));
    expect("the copied cluster", known.clusterDim.x, 8);

    // Blocks that do not go into clusters.
    cudaLaunchAttributeValue uneven = cluster_of(3);
    cudaError_t status =
        cudaGraphKernelNodeSetAttribute(other, cudaLaunchAttributeClusterDimension, &uneven);
    if (status == cudaSuccess) status = cudaGraphInstantiate(&exec, graph, 0);
    expect("clusters of 3 are refused", status != cudaSuccess, 1);
    (void)cudaGetLastError();
    CHECK(cudaGraphDestroy(graph));

    // Captured.
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val = cluster_of(4);
    config.gridDim = dim3(BLOCKS);
    config.blockDim = dim3(1);
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = 1;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    CHECK(cudaLaunchKernelEx(&config, sum_cluster, out));
    CHECK(cudaStreamEndCapture(stream, &graph));
    size_t one = 1;
    CHECK(cudaGraphGetNodes(graph, &node, &one));
    CHECK(cudaGraphKernelNodeGetAttribute(node, cudaLaunchAttributeClusterDimension, &known));
    expect("the captured cluster", known.clusterDim.x, 4);
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    CHECK(cudaMemset(out, 0, BLOCKS * sizeof(int)));
    CHECK(cudaGraphLaunch(exec, stream));
    CHECK(cudaStreamSynchronize(stream));
    expect("wrong blocks", wrong(out, 4), 0);
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
}

static void cooperative(int *sum, int *seen, cudaStream_t stream) {
    void *arguments[] = {&sum, &seen};
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaMemsetParams zero = {};
    zero.dst = sum;
    zero.elementSize = 4;
    zero.width = zero.height = 1;
    cudaKernelNodeParams params = kernel(reinterpret_cast<void *>(sum_grid), arguments);
    cudaGraphNode_t first, node;
    CHECK(cudaGraphAddMemsetNode(&first, graph, nullptr, 0, &zero));
    CHECK(cudaGraphAddKernelNode(&node, graph, &first, 1, &params));
    cudaLaunchAttributeValue value = {};
    value.cooperative = 1;
    CHECK(cudaGraphKernelNodeSetAttribute(node, cudaLaunchAttributeCooperative, &value));
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    for (int round = 0; round < 2; round++) {
        CHECK(cudaGraphLaunch(exec, stream));
        CHECK(cudaStreamSynchronize(stream));
        int host[BLOCKS], wrong = 0;
        CHECK(cudaMemcpy(host, seen, sizeof host, cudaMemcpyDeviceToHost));
        for (int block = 0; block < BLOCKS; block++) wrong += host[block] != 36;
        expect("blocks that have not seen all", wrong, 0);
    }

    // It stays cooperative.
    value.cooperative = 0;
    CHECK(cudaGraphKernelNodeSetAttribute(node, cudaLaunchAttributeCooperative, &value));
    cudaGraphExecUpdateResultInfo info = {};
    cudaError_t status = cudaGraphExecUpdate(exec, graph, &info);
    std::printf("an update without it: %s\n", cudaGetErrorName(status));
    right = right && status == cudaErrorGraphExecUpdateFailure;
    (void)cudaGetLastError();
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "kernel nodes with launch attributes");
    int has_clusters = 0;
    CHECK(cudaDeviceGetAttribute(&has_clusters, cudaDevAttrClusterLaunch, 0));
    if (!has_clusters) {
        std::printf("this device has no clusters\n");
        return report("graph_kernel_attributes", true);
    }
    int *out, *sum;
    CHECK(cudaMalloc(&out, BLOCKS * sizeof(int)));
    CHECK(cudaMalloc(&sum, sizeof(int)));
    cudaStream_t stream;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    clusters(out, stream);
    cooperative(sum, out, stream);
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFree(sum));
    CHECK(cudaFree(out));
    return report("graph_kernel_attributes", right);
}
