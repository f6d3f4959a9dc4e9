// SPDX-License-Identifier: Apache-2.0
//
// What the runtime and the driver tell of kernels: attributes, names, parameters, and limits that
// can be changed.

#include "driver.h"

#include <cstring>
#include <string>

DRIVER_FUNCTION(cuFuncGetName, 12030);
DRIVER_FUNCTION(cuFuncGetParamInfo, 12040);
DRIVER_FUNCTION(cuFuncGetModule, 11000);
DRIVER_FUNCTION(cuFuncGetAttribute, 2020);
DRIVER_FUNCTION(cuFuncIsLoaded, 12040);
DRIVER_FUNCTION(cuModuleGetFunctionCount, 12040);

struct Triple {
    char a, b, c;
};

extern "C" __global__ void many_parameters(char letter, double number, Triple triple, float *out,
                                           short word) {
    out[threadIdx.x] = letter + number + triple.b + word;
}

__global__ void with_shared(int *out) {
    __shared__ int tile[1000];
    tile[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

__global__ void __launch_bounds__(128, 2) bounded(int *out) {
    out[threadIdx.x] = 1;
}

__global__ void dynamic_shared(int *out, int last) {
    extern __shared__ int tile[];
    tile[last] = 5;
    out[0] = tile[last];
}

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "What can be asked of kernels.");
    bool right = true;
    int *out;
    CHECK(cudaMalloc(&out, 4096));
    cudaFuncAttributes attributes;

    CHECK(cudaFuncGetAttributes(&attributes, with_shared));
    right &= tell("static shared memory is told", attributes.sharedSizeBytes == 4000);
    right &= tell("a block may have up to 1024 threads", attributes.maxThreadsPerBlock == 1024);
    right &= tell("a kernel has registers", attributes.numRegs > 0);
    right &= tell("and was compiled for something", attributes.ptxVersion >= 50);
    CHECK(cudaFuncGetAttributes(&attributes, bounded));
    right &= tell("launch bounds are a limit", attributes.maxThreadsPerBlock == 128);
    bounded<<<1, 256>>>(out);
    const cudaError_t status = cudaGetLastError();
    right &= tell("that a launch cannot exceed", status != cudaSuccess);
    bounded<<<1, 128>>>(out);
    CHECK_LAUNCH();

    // More than 48 KiB of shared memory have to be asked for.
    const int bytes = 64 << 10;
    dynamic_shared<<<1, 1, bytes>>>(out, bytes / 4 - 1);
    right &= tell("64 KiB of shared memory are refused", cudaGetLastError() != cudaSuccess);
    CHECK(cudaFuncSetAttribute(dynamic_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    CHECK(cudaFuncGetAttributes(&attributes, dynamic_shared));
    right &= tell("until the kernel may have them", attributes.maxDynamicSharedSizeBytes == bytes);
    dynamic_shared<<<1, 1, bytes>>>(out, bytes / 4 - 1);
    CHECK_LAUNCH();
    int value = 0;
    CHECK(cudaMemcpy(&value, out, sizeof value, cudaMemcpyDeviceToHost));
    right &= tell("and then they work", value == 5);
    right &= tell("an attribute that only tells cannot be set",
                  cudaFuncSetAttribute(dynamic_shared, static_cast<cudaFuncAttribute>(0), 1) !=
                      cudaSuccess);
    cudaGetLastError();

    cudaFunction_t function;
    CHECK(cudaGetFuncBySymbol(&function, reinterpret_cast<const void *>(many_parameters)));
    const char *name = nullptr;
    CHECK_DRIVER(driver::cuFuncGetName(&name, function));
    std::printf("its name: %s\n", name);
    right &= std::strcmp(name, "many_parameters") == 0;
    std::printf("its parameters:");
    size_t index = 0, offset, size;
    std::string layout;
    while (driver::cuFuncGetParamInfo(function, index, &offset, &size) == CUDA_SUCCESS) {
        layout += std::to_string(offset) + "+" + std::to_string(size) + " ";
        ++index;
    }
    std::printf(" %s\n", layout.c_str());
    right &= layout == "0+1 8+8 16+3 24+8 32+2 ";

    int threads = 0;
    CHECK_DRIVER(driver::cuFuncGetAttribute(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK,
                                            function));
    right &= tell("the driver tells the same as the runtime", threads == 1024);
    CUmodule module = nullptr;
    unsigned count = 0;
    CHECK_DRIVER(driver::cuFuncGetModule(&module, function));
    CHECK_DRIVER(driver::cuModuleGetFunctionCount(&count, module));
    std::printf("kernels of its module: %u\n", count);
    right &= count == 4;
    CUfunctionLoadingState state;
    many_parameters<<<1, 1>>>(1, 2.0, {3, 4, 5}, reinterpret_cast<float *>(out), 6);
    CHECK_LAUNCH();
    CHECK_DRIVER(driver::cuFuncIsLoaded(&state, function));
    right &= tell("it is loaded once it has been launched", state == CU_FUNCTION_LOADING_STATE_LOADED);
    float result = 0;
    CHECK(cudaMemcpy(&result, out, sizeof result, cudaMemcpyDeviceToHost));
    right &= tell("and its parameters arrive", result == 13);
    right &= tell("no function is no function",
                  cudaFuncGetAttributes(&attributes, static_cast<const void *>(nullptr)) !=
                      cudaSuccess);

    CHECK(cudaFree(out));
    return report("function_attributes", right);
}
