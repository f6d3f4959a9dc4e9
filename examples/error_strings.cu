// SPDX-License-Identifier: Apache-2.0
//
// Names and descriptions of errors, of the runtime and of the driver.

#include "driver.h"

#include <cstring>

DRIVER_FUNCTION(cuGetErrorName, 6000);
DRIVER_FUNCTION(cuGetErrorString, 6000);

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Names and descriptions of errors.");
    bool right = true;
    const cudaError_t errors[] = {
        cudaSuccess,          cudaErrorInvalidValue,          cudaErrorMemoryAllocation,
        cudaErrorNotReady,    cudaErrorInvalidConfiguration,  cudaErrorInvalidDeviceFunction,
        cudaErrorNoDevice,    cudaErrorInvalidDevice,         cudaErrorIllegalAddress,
        cudaErrorAssert,      cudaErrorInvalidResourceHandle, cudaErrorNotSupported,
        cudaErrorInvalidPtx,  cudaErrorLaunchFailure,
    };
    for (cudaError_t error : errors) {
        std::printf("%3d %s: %s\n", error, cudaGetErrorName(error), cudaGetErrorString(error));
    }
    right &= std::strcmp(cudaGetErrorName(cudaErrorInvalidValue), "cudaErrorInvalidValue") == 0;
    right &= std::strcmp(cudaGetErrorString(cudaSuccess), "no error") == 0;
    std::printf("no error at all: %s\n", cudaGetErrorName(static_cast<cudaError_t>(123456)));

    const CUresult results[] = {
        CUDA_SUCCESS,
        CUDA_ERROR_INVALID_VALUE,
        CUDA_ERROR_OUT_OF_MEMORY,
        CUDA_ERROR_NOT_INITIALIZED,
        CUDA_ERROR_NO_DEVICE,
        CUDA_ERROR_INVALID_CONTEXT,
        CUDA_ERROR_NOT_FOUND,
        CUDA_ERROR_NOT_READY,
        CUDA_ERROR_ILLEGAL_ADDRESS,
        CUDA_ERROR_LAUNCH_TIMEOUT,
        CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
    };
    for (CUresult result : results) {
        const char *name = nullptr, *text = nullptr;
        CHECK_DRIVER(driver::cuGetErrorName(result, &name));
        CHECK_DRIVER(driver::cuGetErrorString(result, &text));
        std::printf("%3d %s: %s\n", result, name, text);
        right &= std::strncmp(name, "CUDA_", 5) == 0 && std::strlen(text) > 4;
    }
    const char *name = "something";
    const CUresult status = driver::cuGetErrorName(static_cast<CUresult>(123456), &name);
    std::printf("an unknown result is %s\n",
                status == CUDA_ERROR_INVALID_VALUE && name == nullptr ? "refused" : "taken");
    right &= status == CUDA_ERROR_INVALID_VALUE && name == nullptr;

    // The last error is told once; a failing call sets it, a succeeding one leaves it.
    void *pointer = nullptr;
    right &= cudaMalloc(&pointer, size_t{1} << 60) == cudaErrorMemoryAllocation;
    int count = 0;
    CHECK(cudaGetDeviceCount(&count));
    right &= cudaPeekAtLastError() == cudaErrorMemoryAllocation;
    right &= cudaGetLastError() == cudaErrorMemoryAllocation;
    right &= cudaGetLastError() == cudaSuccess;
    std::printf("the last error is told once: %s\n", right ? "yes" : "no");
    return report("error_strings", right);
}
