// SPDX-License-Identifier: Apache-2.0
//
// What a kernel can ask before it launches another: attributes of a kernel, occupancy, limits,
// names of errors; and a launch of a kernel with clusters.
// nvcc: -arch=sm_90 -rdc=true -lcudadevrt
// device: compute capability 9.0

#include "check.h"

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

__global__ void __launch_bounds__(256) child(int *out) {
    __shared__ int values[256];
    values[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[blockIdx.x * blockDim.x + threadIdx.x] = values[255 - threadIdx.x];
}

__global__ void __cluster_dims__(2, 1, 1) in_clusters(int *out) {
    __shared__ int value;
    cg::cluster_group cluster = cg::this_cluster();
    if (threadIdx.x == 0)
        value = 10 * blockIdx.x;
    cluster.sync();
    if (threadIdx.x == 0)
        out[blockIdx.x] = *cluster.map_shared_rank(&value, 1 - cluster.block_rank()) +
                          static_cast<int>(cluster.num_blocks());
    cluster.sync();
}

struct Answers {
    cudaFuncAttributes attributes, of_clusters;
    size_t heap_bytes, printf_bytes;
    int blocks, blocks_with_shared;
    cudaError_t errors[6];
    cudaError_t clusters, half_a_cluster, too_large, last;
};

__global__ void ask(Answers *answers, int *out) {
    answers->errors[0] = cudaFuncGetAttributes(&answers->attributes, child);
    answers->errors[1] = cudaFuncGetAttributes(&answers->of_clusters, in_clusters);
    answers->errors[2] = cudaDeviceGetLimit(&answers->heap_bytes, cudaLimitMallocHeapSize);
    answers->errors[3] = cudaDeviceGetLimit(&answers->printf_bytes, cudaLimitPrintfFifoSize);
    answers->errors[4] =
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&answers->blocks, child, 256, 0);
    answers->errors[5] = cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        &answers->blocks_with_shared, child, 64, 16384, cudaOccupancyDefault);

    in_clusters<<<4, 32>>>(out);
    answers->clusters = cudaGetLastError();
    // A grid consists of whole clusters, and a block has at most 1,024 threads.
    in_clusters<<<3, 32>>>(out + 4);
    answers->half_a_cluster = cudaGetLastError();
    child<<<1, 2048>>>(out + 4);
    answers->too_large = cudaGetLastError();
    answers->last = cudaGetLastError();
    printf("%s: %s\n", cudaGetErrorName(cudaSuccess), cudaGetErrorString(cudaSuccess));
    printf("%s: %s\n", cudaGetErrorName(cudaErrorInvalidValue),
           cudaGetErrorString(cudaErrorInvalidValue));
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "What kernels can ask about kernels.");
    int has_clusters = 0;
    CHECK(cudaDeviceGetAttribute(&has_clusters, cudaDevAttrClusterLaunch, 0));
    if (!has_clusters) {
        std::printf("this device has no clusters\n");
        return report("dynamic_parallelism_queries", true);
    }
    Answers *device, answers;
    int *out, values[5];
    CHECK(cudaMalloc(&device, sizeof answers));
    CHECK(cudaMalloc(&out, 4096));
    CHECK(cudaMemset(out, 0xff, 4096));
    ask<<<1, 1>>>(device, out);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaMemcpy(&answers, device, sizeof answers, cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(values, out, sizeof values, cudaMemcpyDeviceToHost));

    bool right = true;
    for (const cudaError_t error : answers.errors)
        right &= error == cudaSuccess;
    cudaFuncAttributes host;
    CHECK(cudaFuncGetAttributes(&host, child));
    const cudaFuncAttributes &seen = answers.attributes;
    std::printf("child: %zu bytes shared, at most %d threads\n", seen.sharedSizeBytes,
                seen.maxThreadsPerBlock);
    right &= seen.sharedSizeBytes == 1024 && seen.maxThreadsPerBlock == 256;
    right &= seen.numRegs == host.numRegs && seen.binaryVersion == host.binaryVersion;
    int blocks, with_shared;
    CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, child, 256, 0));
    CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&with_shared, child, 64, 16384));
    right &= answers.blocks == blocks && answers.blocks_with_shared == with_shared;
    size_t heap, fifo;
    CHECK(cudaDeviceGetLimit(&heap, cudaLimitMallocHeapSize));
    CHECK(cudaDeviceGetLimit(&fifo, cudaLimitPrintfFifoSize));
    right &= answers.heap_bytes == heap && answers.printf_bytes == fifo;
    std::printf("host and kernel agree: %s\n", right ? "yes" : "no");

    std::printf("clusters from a kernel: %d %d %d %d, then %d\n", values[0], values[1], values[2],
                values[3], values[4]);
    for (int block = 0; block < 4; ++block)
        right &= values[block] == 10 * (block ^ 1) + 2;
    right &= values[4] == -1;
    right &= answers.clusters == cudaSuccess && answers.half_a_cluster != cudaSuccess;
    right &= answers.too_large == cudaErrorInvalidConfiguration && answers.last == cudaSuccess;
    std::printf("refused: %s, half a cluster %s\n", cudaGetErrorName(answers.too_large),
                answers.half_a_cluster == cudaSuccess ? "is not" : "is too");
    CHECK(cudaFree(device));
    CHECK(cudaFree(out));
    return report("dynamic_parallelism_queries", right);
}
