// SPDX-License-Identifier: Apache-2.0
//
// The driver API for examples: functions are asked of the runtime, so that no driver library is
// needed to link.

#pragma once

#include "check.h"

#include <cuda.h>
#include <cudaTypedefs.h>

// Ends the program, with the error's number and place, unless the call succeeded.
#define CHECK_DRIVER(call) check_driver((call), #call, __FILE__, __LINE__)

inline void check_driver(CUresult status, const char *call, const char *file, int line) {
    if (status == CUDA_SUCCESS) {
        return;
    }
    std::fprintf(stderr, "%s:%d: %s: CUresult %d\n", file, line, call, static_cast<int>(status));
    std::exit(1);
}

// `DRIVER_FUNCTION(cuCtxGetId, 12000)`: `driver::cuCtxGetId`, the function as it is since that
// version of CUDA.
#define DRIVER_FUNCTION(name, version)                                                            \
    namespace driver {                                                                            \
    static const auto name = driver_function<PFN_##name##_v##version>(#name, version);            \
    }                                                                                             \
    static_assert(true)

template <class Function> Function driver_function(const char *name, unsigned version) {
    void *found = nullptr;
    cudaDriverEntryPointQueryResult result;
    const cudaError_t status = cudaGetDriverEntryPointByVersion(
        name, &found, version, cudaEnableDefault, &result);
    if (status != cudaSuccess || result != cudaDriverEntryPointSuccess) {
        std::fprintf(stderr, "the driver has no %s\n", name);
        std::exit(1);
    }
    return reinterpret_cast<Function>(found);
}
