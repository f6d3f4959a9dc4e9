// SPDX-License-Identifier: Apache-2.0
//
// Launches with attributes (cudaLaunchKernelEx): cooperative, with a priority, programmatic stream
// serialization, an access policy; and the older ways to launch by a pointer.

#include "check.h"

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

// Every block adds its share, then all see the sum of all.
__global__ void share(int *sum, int *seen) {
    const cg::grid_group grid = cg::this_grid();
    if (threadIdx.x == 0) {
        atomicAdd(sum, blockIdx.x + 1);
    }
    grid.sync();
    if (threadIdx.x == 0) {
        seen[blockIdx.x] = *sum;
    }
}

__global__ void fill(int *values, int value, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] = value + i;
    }
}

// May begin before the kernel before it has ended, but waits for what that one writes.
__global__ void sum_up(const int *values, int count, int *sum) {
#if __CUDA_ARCH__ >= 900
    cudaGridDependencySynchronize();
#endif
    int own = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        own += values[i];
    }
    atomicAdd(sum, own);
}

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Launches with attributes.");
    constexpr int COUNT = 1000, BLOCKS = 4;
    int *values, *sum, *seen, host[BLOCKS], total = 0;
    CHECK(cudaMalloc(&values, COUNT * sizeof(int)));
    CHECK(cudaMalloc(&sum, sizeof(int)));
    CHECK(cudaMalloc(&seen, BLOCKS * sizeof(int)));
    CHECK(cudaMemset(sum, 0, sizeof(int)));
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    bool right = true;

    cudaLaunchConfig_t config = {};
    config.gridDim = BLOCKS;
    config.blockDim = 64;
    config.stream = stream;
    cudaLaunchAttribute attributes[3] = {};
    config.attrs = attributes;

    attributes[0].id = cudaLaunchAttributeCooperative;
    attributes[0].val.cooperative = 1;
    config.numAttrs = 1;
    CHECK(cudaLaunchKernelEx(&config, share, sum, seen));
    CHECK(cudaMemcpyAsync(host, seen, sizeof host, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    bool all = true;
    for (int value : host) {
        all = all && value == BLOCKS * (BLOCKS + 1) / 2;
    }
    right &= tell("a cooperative launch synchronises its grid", all);

    config.gridDim = 1 << 20;
    right &= tell("one that does not fit is refused",
                  cudaLaunchKernelEx(&config, share, sum, seen) ==
                      cudaErrorCooperativeLaunchTooLarge);
    cudaGetLastError();

    CHECK(cudaMemset(sum, 0, sizeof(int)));
    config.gridDim = (COUNT + 63) / 64;
    attributes[0].id = cudaLaunchAttributePriority;
    attributes[0].val.priority = -1;
    attributes[1].id = cudaLaunchAttributeAccessPolicyWindow;
    attributes[1].val.accessPolicyWindow = {values, COUNT * sizeof(int), 1.0f,
                                            cudaAccessPropertyPersisting,
                                            cudaAccessPropertyStreaming};
    attributes[2].id = cudaLaunchAttributeMemSyncDomain;
    attributes[2].val.memSyncDomain = cudaLaunchMemSyncDomainDefault;
    config.numAttrs = 3;
    CHECK(cudaLaunchKernelEx(&config, fill, values, 5, COUNT));
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    config.numAttrs = 1;
    config.gridDim = 1;
    CHECK(cudaLaunchKernelEx(&config, sum_up, static_cast<const int *>(values), COUNT, sum));
    CHECK(cudaMemcpyAsync(&total, sum, sizeof total, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    std::printf("the sum of two launches: %d\n", total);
    right &= total == 5 * COUNT + COUNT * (COUNT - 1) / 2;

    // By a pointer, with a list of parameters.
    int value = 100, count = COUNT;
    void *parameters[] = {&values, &value, &count};
    CHECK(cudaLaunchKernel(reinterpret_cast<const void *>(fill), dim3(16), dim3(64), parameters, 0,
                           stream));
    CHECK(cudaMemcpyAsync(host, values + 7, sizeof(int), cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    right &= tell("a launch by a pointer", host[0] == 107);
    CHECK(cudaMemset(sum, 0, sizeof(int)));
    void *shared[] = {&sum, &seen};
    CHECK(cudaLaunchCooperativeKernel(reinterpret_cast<const void *>(share), dim3(BLOCKS), dim3(32),
                                      shared, 0, stream));
    CHECK(cudaMemcpyAsync(host, seen, sizeof host, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    right &= tell("a cooperative launch by a pointer", host[BLOCKS - 1] == 10);

    CHECK(cudaStreamDestroy(stream));
    for (int *pointer : {values, sum, seen}) {
        CHECK(cudaFree(pointer));
    }
    return report("launch_attributes", right);
}
