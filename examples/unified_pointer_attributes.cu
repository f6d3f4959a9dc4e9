// SPDX-License-Identifier: Apache-2.0
//
// What a pointer's value tells: whose memory it is, and where else it can be reached.

#include "check.h"

#include <cuda.h>

__device__ int variable;

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

static cudaPointerAttributes attributes_of(const void *pointer) {
    cudaPointerAttributes attributes = {};
    CHECK(cudaPointerGetAttributes(&attributes, pointer));
    return attributes;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Asks what pointers point to.");
    char *device = nullptr, *managed = nullptr, *pinned = nullptr, *mapped = nullptr;
    char *ordered = nullptr;
    CHECK(cudaMalloc(&device, 1000));
    CHECK(cudaMallocManaged(&managed, 1000));
    CHECK(cudaMallocHost(&pinned, 1000));
    CHECK(cudaHostAlloc(&mapped, 1000, cudaHostAllocMapped));
    CHECK(cudaMallocAsync(&ordered, 1000, nullptr));
    void *symbol = nullptr;
    CHECK(cudaGetSymbolAddress(&symbol, variable));
    int ordinary = 0;

    bool right = true;
    cudaPointerAttributes a = attributes_of(device + 999);
    std::printf("device memory\n");
    right &= expect("is known to its last byte",
                    a.type == cudaMemoryTypeDevice && a.devicePointer == device + 999);
    right &= expect("belongs to device 0", a.device == 0);
    right &= expect("has no host pointer", a.hostPointer == nullptr);
    a = attributes_of(ordered);
    right &= expect("may come from a pool", a.type == cudaMemoryTypeDevice);
    a = attributes_of(symbol);
    right &= expect("may be a variable", a.type == cudaMemoryTypeDevice);

    std::printf("managed memory\n");
    a = attributes_of(managed + 10);
    right &= expect("is a kind of its own", a.type == cudaMemoryTypeManaged);
    right &= expect("has one pointer for both",
                    a.hostPointer == managed + 10 && a.devicePointer == managed + 10);

    std::printf("page-locked memory\n");
    a = attributes_of(pinned);
    right &= expect("is host memory", a.type == cudaMemoryTypeHost && a.hostPointer == pinned);
    a = attributes_of(mapped + 1);
    right &= expect("may have a device pointer",
                    a.type == cudaMemoryTypeHost && a.devicePointer != nullptr);

    std::printf("ordinary memory\n");
    a = attributes_of(&ordinary);
    right &= expect("is unknown", a.type == cudaMemoryTypeUnregistered &&
                                      a.devicePointer == nullptr);

    std::printf("pointer arithmetic of the driver\n");
    CUdeviceptr base = 0;
    size_t bytes = 0;
    typedef CUresult (*GetRange)(CUdeviceptr *, size_t *, CUdeviceptr);
    void *function = nullptr;
    cudaDriverEntryPointQueryResult found;
    CHECK(cudaGetDriverEntryPointByVersion("cuMemGetAddressRange", &function, 12000,
                                           cudaEnableDefault, &found));
    const CUdeviceptr inside = reinterpret_cast<CUdeviceptr>(device) + 500;
    const CUresult status = reinterpret_cast<GetRange>(function)(&base, &bytes, inside);
    right &= expect("finds the allocation around a pointer",
                    status == CUDA_SUCCESS && base == reinterpret_cast<CUdeviceptr>(device) &&
                        bytes >= 1000);

    CHECK(cudaFree(device));
    a = attributes_of(device);
    right &= expect("freed memory is unknown", a.type == cudaMemoryTypeUnregistered);
    CHECK(cudaFree(managed));
    CHECK(cudaFreeHost(pinned));
    CHECK(cudaFreeHost(mapped));
    CHECK(cudaFreeAsync(ordered, nullptr));
    CHECK(cudaDeviceSynchronize());
    return report("unified_pointer_attributes", right);
}
