// SPDX-License-Identifier: Apache-2.0
//
// What CUDA 12 has changed and CUDA 11 can do all the same, so that examples compile with its
// headers: include it before everything else (`nvcc -include cuda11/as_in_12.h`).

#pragma once

#include <cuda_runtime.h>

// For its <cuda/barrier>.
#include <new>

// It had arguments for a log, which nobody filled.
#define cudaGraphInstantiate(exec, graph, flags) cudaGraphInstantiateWithFlags(exec, graph, flags)

enum cudaDriverEntryPointQueryResult {
    cudaDriverEntryPointSuccess = 0,
    cudaDriverEntryPointSymbolNotFound = 1,
    cudaDriverEntryPointVersionNotSufficent = 2,
};

// Names had one version, that of the runtime.
inline cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **found, unsigned,
                                                    unsigned long long flags,
                                                    cudaDriverEntryPointQueryResult *result) {
    const cudaError_t status = cudaGetDriverEntryPoint(name, found, flags);
    *result = *found == nullptr ? cudaDriverEntryPointSymbolNotFound : cudaDriverEntryPointSuccess;
    return status;
}

struct cudaGraphExecUpdateResultInfo {
    cudaGraphExecUpdateResult result;
    cudaGraphNode_t errorNode;
    cudaGraphNode_t errorFromNode;
};

// It told one node.
inline cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                       cudaGraphExecUpdateResultInfo *info) {
    return cudaGraphExecUpdate(exec, graph, &info->errorNode, &info->result);
}
