// SPDX-License-Identifier: Apache-2.0
//
// Virtual memory management: addresses are reserved, memory is created without an address, and
// what is mapped at two addresses is the same memory.

#include "driver.h"

#include <vector>

DRIVER_FUNCTION(cuMemAddressReserve, 10020);
DRIVER_FUNCTION(cuMemAddressFree, 10020);
DRIVER_FUNCTION(cuMemCreate, 10020);
DRIVER_FUNCTION(cuMemRelease, 10020);
DRIVER_FUNCTION(cuMemMap, 10020);
DRIVER_FUNCTION(cuMemUnmap, 10020);
DRIVER_FUNCTION(cuMemSetAccess, 10020);
DRIVER_FUNCTION(cuMemGetAccess, 10020);
DRIVER_FUNCTION(cuMemGetAllocationGranularity, 10020);
DRIVER_FUNCTION(cuMemGetAllocationPropertiesFromHandle, 10020);
DRIVER_FUNCTION(cuMemRetainAllocationHandle, 11000);

__global__ void number(unsigned *words, size_t count, unsigned first) {
    for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        words[i] = first + static_cast<unsigned>(i);
    }
}

__global__ void sum(const unsigned *words, size_t count, unsigned long long *total) {
    unsigned long long own = 0;
    for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        own += words[i];
    }
    atomicAdd(total, own);
}

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

static CUmemAccessDesc access_of_device_0() {
    CUmemAccessDesc access = {};
    access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    access.location.id = 0;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    return access;
}

static unsigned *words_at(CUdeviceptr address) {
    return reinterpret_cast<unsigned *>(address);
}

// What kernels see at an address.
static unsigned long long total_at(CUdeviceptr address, size_t count) {
    unsigned long long *total = nullptr;
    unsigned long long host = 0;
    CHECK(cudaMalloc(&total, sizeof host));
    CHECK(cudaMemset(total, 0, sizeof host));
    sum<<<8, 256>>>(words_at(address), count, total);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&host, total, sizeof host, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(total));
    return host;
}

static unsigned long long sum_of_numbers(unsigned long long first, unsigned long long count) {
    return first * count + count * (count - 1) / 2;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Maps device memory at addresses of its own choice.");
    CHECK(cudaFree(nullptr));
    int is_supported = 0;
    CHECK(cudaDeviceGetAttribute(&is_supported,
                                 static_cast<cudaDeviceAttr>(
                                     CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED),
                                 0));
    bool right = true;
    std::printf("the device\n");
    right &= expect("can do it", is_supported != 0);

    CUmemAllocationProp properties = {};
    properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    properties.location.id = 0;
    size_t bytes = 0;
    CHECK_DRIVER(driver::cuMemGetAllocationGranularity(&bytes, &properties,
                                                       CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    right &= expect("has a granularity", bytes > 0 && bytes % 4096 == 0);
    const size_t count = bytes / sizeof(unsigned);

    CUdeviceptr place = 0;
    CHECK_DRIVER(driver::cuMemAddressReserve(&place, 4 * bytes, 0, 0, 0));
    CUmemGenericAllocationHandle first = 0;
    CUmemGenericAllocationHandle second = 0;
    CHECK_DRIVER(driver::cuMemCreate(&first, bytes, &properties, 0));
    CHECK_DRIVER(driver::cuMemCreate(&second, bytes, &properties, 0));
    // The first one twice, the second one between.
    const CUmemAccessDesc access = access_of_device_0();
    CHECK_DRIVER(driver::cuMemMap(place, bytes, 0, first, 0));
    CHECK_DRIVER(driver::cuMemMap(place + bytes, bytes, 0, second, 0));
    CHECK_DRIVER(driver::cuMemMap(place + 2 * bytes, bytes, 0, first, 0));
    unsigned long long flags = 99;
    CHECK_DRIVER(driver::cuMemGetAccess(&flags, &access.location, place));
    std::printf("memory that is mapped\n");
    right &= expect("cannot be accessed at first", flags == CU_MEM_ACCESS_FLAGS_PROT_NONE);
    CHECK_DRIVER(driver::cuMemSetAccess(place, 3 * bytes, &access, 1));
    CHECK_DRIVER(driver::cuMemGetAccess(&flags, &access.location, place + 2 * bytes));
    right &= expect("can be when access is set", flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);

    number<<<8, 256>>>(words_at(place), 2 * count, 7);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    right &= expect("is one range", total_at(place, 2 * count) == sum_of_numbers(7, 2 * count));
    right &= expect("is the same at its other address",
                    total_at(place + 2 * bytes, count) == sum_of_numbers(7, count));
    CHECK(cudaMemset(words_at(place + 2 * bytes), 0, bytes));
    right &= expect("changes at both", total_at(place, count) == 0);
    std::vector<unsigned> host(2 * count, 3);
    CHECK(cudaMemcpy(words_at(place + bytes), host.data(), 2 * bytes, cudaMemcpyHostToDevice));
    right &= expect("takes copies that pass from one to the next",
                    total_at(place, 3 * count) == 9ULL * count);

    std::printf("a handle\n");
    CUmemAllocationProp known = {};
    CHECK_DRIVER(driver::cuMemGetAllocationPropertiesFromHandle(&known, first));
    right &= expect("knows its properties", known.type == CU_MEM_ALLOCATION_TYPE_PINNED &&
                                                known.location.type == CU_MEM_LOCATION_TYPE_DEVICE &&
                                                known.location.id == 0);
    CHECK_DRIVER(driver::cuMemRelease(first));
    CHECK_DRIVER(driver::cuMemRelease(second));
    right &= expect("may go before the mapping", total_at(place + bytes, count) == 3ULL * count);
    CUmemGenericAllocationHandle again = 0;
    CHECK_DRIVER(driver::cuMemRetainAllocationHandle(&again, words_at(place + bytes)));
    CHECK_DRIVER(driver::cuMemUnmap(place + bytes, bytes));
    CHECK_DRIVER(driver::cuMemMap(place + 3 * bytes, bytes, 0, again, 0));
    CHECK_DRIVER(driver::cuMemSetAccess(place + 3 * bytes, bytes, &access, 1));
    right &= expect("comes back for what is mapped",
                    total_at(place + 2 * bytes, 2 * count) == 6ULL * count);

    std::printf("an error is\n");
    CUmemGenericAllocationHandle none = 0;
    right &= expect("a second mapping at one address",
                    driver::cuMemMap(place, bytes, 0, again, 0) == CUDA_ERROR_INVALID_VALUE);
    right &= expect("a reservation freed while mapped",
                    driver::cuMemAddressFree(place, 4 * bytes) == CUDA_ERROR_INVALID_VALUE);
    right &= expect("a size that does not fit the granularity",
                    driver::cuMemCreate(&none, bytes + 1, &properties, 0) ==
                        CUDA_ERROR_INVALID_VALUE);
    CHECK_DRIVER(driver::cuMemRelease(again));

    CHECK_DRIVER(driver::cuMemUnmap(place, bytes));
    CHECK_DRIVER(driver::cuMemUnmap(place + 2 * bytes, bytes));
    CHECK_DRIVER(driver::cuMemUnmap(place + 3 * bytes, bytes));
    CHECK_DRIVER(driver::cuMemAddressFree(place, 4 * bytes));
    return report("virtual_memory", right);
}
