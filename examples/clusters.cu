// SPDX-License-Identifier: Apache-2.0
//
// Thread block clusters: blocks that run together and read each other's shared memory.
//
// A histogram whose bins are spread over the shared memory of a cluster, for cluster sizes given at
// launch, and a kernel with a fixed cluster whose blocks pass values around in a ring.
// nvcc: -arch=sm_90
// device: compute capability 9.0

#include "check.h"

#include <cooperative_groups.h>

#include <vector>

namespace cg = cooperative_groups;

constexpr int BINS = 96, THREADS = 128;

__global__ void histogram(const int *values, int count, int *bins) {
    extern __shared__ int own[];
    cg::cluster_group cluster = cg::this_cluster();
    const int blocks = cluster.num_blocks(), each = BINS / blocks;
    for (int i = threadIdx.x; i < each; i += blockDim.x)
        own[i] = 0;
    cluster.sync();
    const int stride = gridDim.x * blockDim.x;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const int bin = values[i];
        int *remote = cluster.map_shared_rank(own, bin / each);
        atomicAdd(remote + bin % each, 1);
    }
    // Nobody may leave while others still write to its memory.
    cluster.sync();
    for (int i = threadIdx.x; i < each; i += blockDim.x)
        atomicAdd(bins + cluster.block_rank() * each + i, own[i]);
}

__global__ void __cluster_dims__(4, 1, 1) ring(int *out) {
    __shared__ int value;
    cg::cluster_group cluster = cg::this_cluster();
    const unsigned rank = cluster.block_rank();
    if (threadIdx.x == 0)
        value = 100 * blockIdx.x + rank;
    cluster.sync();
    if (threadIdx.x == 0) {
        int sum = 0;
        for (unsigned step = 0; step < cluster.num_blocks(); ++step)
            sum += *cluster.map_shared_rank(&value, (rank + step) % cluster.num_blocks()) << 8 * step;
        int *result = out + blockIdx.x * 4;
        result[0] = sum;
        result[1] = cluster.num_blocks() * 10 + cluster.dim_blocks().x;
        result[2] = cluster.query_shared_rank(cluster.map_shared_rank(&value, 3 - rank));
        result[3] = cluster.num_threads();
    }
    cluster.sync();
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Clusters of blocks with distributed shared memory.");
    int has_clusters = 0;
    CHECK(cudaDeviceGetAttribute(&has_clusters, cudaDevAttrClusterLaunch, 0));
    if (!has_clusters) {
        std::printf("this device has no clusters\n");
        return report("clusters", true);
    }
    constexpr int COUNT = 10000;
    std::vector<int> values(COUNT), expected(BINS), bins(BINS);
    for (int i = 0; i < COUNT; ++i) {
        values[i] = i * 7 % 101 * i % BINS;
        ++expected[values[i]];
    }
    int *device_values = nullptr, *device_bins = nullptr;
    CHECK(cudaMalloc(&device_values, COUNT * sizeof(int)));
    CHECK(cudaMalloc(&device_bins, BINS * sizeof(int)));
    CHECK(cudaMemcpy(device_values, values.data(), COUNT * sizeof(int), cudaMemcpyHostToDevice));
    bool right = true;
    for (int size = 1; size <= 8; size *= 2) {
        CHECK(cudaMemset(device_bins, 0, BINS * sizeof(int)));
        cudaLaunchConfig_t config = {};
        config.gridDim = dim3(16);
        config.blockDim = dim3(THREADS);
        config.dynamicSmemBytes = BINS / size * sizeof(int);
        cudaLaunchAttribute attribute = {};
        attribute.id = cudaLaunchAttributeClusterDimension;
        attribute.val.clusterDim.x = size;
        attribute.val.clusterDim.y = 1;
        attribute.val.clusterDim.z = 1;
        config.attrs = &attribute;
        config.numAttrs = 1;
        int clusters = 0;
        CHECK(cudaOccupancyMaxActiveClusters(&clusters, histogram, &config));
        CHECK(cudaLaunchKernelEx(&config, histogram, (const int *)device_values, COUNT,
                                 device_bins));
        CHECK(cudaMemcpy(bins.data(), device_bins, BINS * sizeof(int), cudaMemcpyDeviceToHost));
        int wrong = 0;
        for (int i = 0; i < BINS; ++i)
            wrong += bins[i] != expected[i];
        std::printf("clusters of %d blocks: %d bins differ, room for some: %s\n", size, wrong,
                    clusters > 0 ? "yes" : "no");
        right = right && wrong == 0 && clusters > 0;
    }

    constexpr int BLOCKS = 8;
    int *device_out = nullptr, out[BLOCKS * 4];
    CHECK(cudaMalloc(&device_out, sizeof(out)));
    ring<<<BLOCKS, 64>>>(device_out);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(out, device_out, sizeof(out), cudaMemcpyDeviceToHost));
    int wrong = 0;
    for (int block = 0; block < BLOCKS; ++block) {
        const int rank = block % 4;
        int sum = 0;
        for (int step = 0; step < 4; ++step) {
            const int other = (rank + step) % 4;
            sum += (100 * (block / 4 * 4 + other) + other) << 8 * step;
        }
        wrong += out[block * 4] != sum || out[block * 4 + 1] != 44 ||
                 out[block * 4 + 2] != 3 - rank || out[block * 4 + 3] != 256;
    }
    std::printf("a ring of four blocks: %d of %d blocks differ\n", wrong, BLOCKS);

    // A grid that does not consist of whole clusters.
    ring<<<BLOCKS - 1, 64>>>(device_out);
    const bool is_refused = cudaGetLastError() != cudaSuccess || cudaDeviceSynchronize() != cudaSuccess;
    std::printf("half a cluster is refused: %s\n", is_refused ? "yes" : "no");
    CHECK(cudaFree(device_values));
    CHECK(cudaFree(device_bins));
    CHECK(cudaFree(device_out));
    return report("clusters", right && wrong == 0 && is_refused);
}
