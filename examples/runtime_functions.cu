// SPDX-License-Identifier: Apache-2.0
//
// What the runtime knows of kernels: names, parameters, attributes, launches with a configuration,
// libraries loaded by hand, and the driver's functions.

#include "check.h"

#include <cuda.h>

#include <string>

extern "C" __global__ void add(int *out, char step, long long more) {
    atomicAdd(out, step + static_cast<int>(more));
}

extern "C" __global__ void __launch_bounds__(256) shared_sum(int *out) {
    extern __shared__ int tile[];
    tile[threadIdx.x] = threadIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) {
        int sum = 0;
        for (unsigned i = 0; i < blockDim.x; ++i) {
            sum += tile[i];
        }
        *out = sum;
    }
}

static const char *MODULE = R"(
.version 7.0
.target sm_75
.address_size 64
.visible .global .u32 scale = 3;
.visible .entry times(.param .u64 at)
{
    .reg .u64 %p; .reg .u32 %a, %b;
    ld.param.u64 %p, [at];
    ld.global.u32 %a, [%p];
    ld.global.u32 %b, [scale];
    mul.lo.u32 %a, %a, %b;
    st.global.u32 [%p], %a;
    ret;
}
)";

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

static int value(const int *device) {
    int host = 0;
    CHECK(cudaMemcpy(&host, device, sizeof host, cudaMemcpyDeviceToHost));
    return host;
}

static bool names() {
    const char *name = nullptr;
    CHECK(cudaFuncGetName(&name, reinterpret_cast<const void *>(add)));
    bool right = tell("a kernel knows its name", std::string(name) == "add");
    size_t offset = 99, size = 99;
    CHECK(cudaFuncGetParamInfo(reinterpret_cast<const void *>(add), 2, &offset, &size));
    right &= tell("and where its parameters are", offset == 16 && size == 8);
    right &= tell("but not those that it lacks",
                  cudaFuncGetParamInfo(reinterpret_cast<const void *>(add), 3, &offset, &size) ==
                          cudaErrorInvalidValue &&
                      cudaGetLastError() == cudaErrorInvalidValue);
    return right;
}

static bool launches(int *out) {
    int step = 5;
    char small = static_cast<char>(step);
    long long more = 10;
    void *arguments[] = {&out, &small, &more};
    CHECK(cudaMemset(out, 0, sizeof(int)));
    CHECK(cudaLaunchKernel(reinterpret_cast<const void *>(add), 2, 3, arguments, 0, nullptr));
    bool right = tell("a kernel is launched by its address", value(out) == 2 * 3 * 15);
    cudaLaunchConfig_t config = {};
    config.gridDim = 4;
    config.blockDim = 2;
    CHECK(cudaLaunchKernelExC(&config, reinterpret_cast<const void *>(add), arguments));
    right &= tell("with a configuration", value(out) == 90 + 8 * 15);
    CHECK(cudaLaunchKernelEx(&config, add, out, small, more));
    right &= tell("and with one in C++", value(out) == 210 + 8 * 15);
    CHECK(cudaLaunchCooperativeKernel(reinterpret_cast<const void *>(add), 1, 1, arguments));
    right &= tell("a single block cooperates", value(out) == 330 + 15);

    cudaKernel_t kernel = nullptr;
    CHECK(cudaGetKernel(&kernel, reinterpret_cast<const void *>(shared_sum)));
    const int most = 64 * 1024;
    CHECK(cudaKernelSetAttributeForDevice(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most,
                                          0));
    cudaFuncAttributes attributes;
    CHECK(cudaFuncGetAttributes(&attributes, shared_sum));
    right &= tell("an attribute that was set is told", attributes.maxDynamicSharedSizeBytes == most &&
                                                           attributes.maxThreadsPerBlock == 256);
    CHECK(cudaFuncSetAttribute(shared_sum, cudaFuncAttributePreferredSharedMemoryCarveout, 50));
    CHECK(cudaFuncSetCacheConfig(shared_sum, cudaFuncCachePreferShared));
    shared_sum<<<1, 256, 50 * 1024>>>(out);
    CHECK_LAUNCH();
    right &= tell("much shared memory", value(out) == 255 * 128);
    shared_sum<<<1, 256, 80 * 1024>>>(out);
    right &= tell("but not more than was asked for", cudaGetLastError() == cudaErrorInvalidValue);
    int blocks = 0;
    size_t dynamic = 0;
    CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, shared_sum, 256, 1024));
    CHECK(cudaOccupancyAvailableDynamicSMemPerBlock(&dynamic, shared_sum, 1, 256));
    right &= tell("blocks fit a multiprocessor", blocks >= 1 && dynamic >= 1024);
    return right;
}

static bool libraries(int *out) {
    cudaLibrary_t library = nullptr;
    CHECK(cudaLibraryLoadData(&library, MODULE, nullptr, nullptr, 0, nullptr, nullptr, 0));
    cudaKernel_t kernel = nullptr;
    unsigned kernels = 0;
    CHECK(cudaLibraryGetKernel(&kernel, library, "times"));
    CHECK(cudaLibraryGetKernelCount(&kernels, library));
    bool right = tell("a library has the kernel that was written", kernels == 1);
    cudaKernel_t listed = nullptr;
    CHECK(cudaLibraryEnumerateKernels(&listed, 1, library));
    right &= tell("and lists it", listed == kernel);
    int *scale = nullptr;
    size_t bytes = 0;
    CHECK(cudaLibraryGetGlobal(reinterpret_cast<void **>(&scale), &bytes, library, "scale"));
    const int seven = 7, six = 6;
    CHECK(cudaMemcpy(scale, &seven, sizeof seven, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(out, &six, sizeof six, cudaMemcpyHostToDevice));
    void *arguments[] = {&out};
    CHECK(cudaLaunchKernel(kernel, 1, 1, arguments, 0, nullptr));
    right &= tell("it multiplies by a variable that was set", bytes == 4 && value(out) == 42);
    right &= tell("what it lacks is not found",
                  cudaLibraryGetKernel(&listed, library, "divided") == cudaErrorSymbolNotFound &&
                      cudaGetLastError() == cudaErrorSymbolNotFound);
    CHECK(cudaLibraryUnload(library));
    return right;
}

static bool driver() {
    CUresult (*device_count)(int *) = nullptr;
    cudaDriverEntryPointQueryResult found;
    CHECK(cudaGetDriverEntryPointByVersion("cuDeviceGetCount",
                                           reinterpret_cast<void **>(&device_count), 2000,
                                           cudaEnableDefault, &found));
    int by_driver = -1, by_runtime = -2;
    bool right = found == cudaDriverEntryPointSuccess && device_count(&by_driver) == CUDA_SUCCESS;
    CHECK(cudaGetDeviceCount(&by_runtime));
    right = tell("the driver counts as many devices", right && by_driver == by_runtime);
    void *none = &right;
    CHECK(cudaGetDriverEntryPointByVersion("cuNothing", &none, 12000, cudaEnableDefault, &found));
    right &= tell("and lacks what there is not",
                  found == cudaDriverEntryPointSymbolNotFound && none == nullptr);
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "What the runtime knows of kernels.");
    int *out;
    CHECK(cudaMalloc(&out, sizeof(int)));
    bool right = names();
    right &= launches(out);
    right &= libraries(out);
    right &= driver();
    CHECK(cudaFree(out));
    return report("runtime_functions", right);
}
