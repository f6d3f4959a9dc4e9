// SPDX-License-Identifier: Apache-2.0
//
// Memory without an address, handed to another process as a file descriptor: each process maps it
// at addresses of its own.

#include "driver.h"
#include "processes.h"

constexpr size_t WORDS = (3 << 20) + 5;

// The driver's functions, looked up after the processes have parted.
struct Driver {
    template <class Function> static Function find(const char *name) {
        return driver_function<Function>(name, 10020);
    }

    PFN_cuMemAddressReserve_v10020 reserve = find<PFN_cuMemAddressReserve_v10020>("cuMemAddressReserve");
    PFN_cuMemAddressFree_v10020 free = find<PFN_cuMemAddressFree_v10020>("cuMemAddressFree");
    PFN_cuMemCreate_v10020 create = find<PFN_cuMemCreate_v10020>("cuMemCreate");
    PFN_cuMemRelease_v10020 release = find<PFN_cuMemRelease_v10020>("cuMemRelease");
    PFN_cuMemMap_v10020 map = find<PFN_cuMemMap_v10020>("cuMemMap");
    PFN_cuMemUnmap_v10020 unmap = find<PFN_cuMemUnmap_v10020>("cuMemUnmap");
    PFN_cuMemSetAccess_v10020 set_access = find<PFN_cuMemSetAccess_v10020>("cuMemSetAccess");
    PFN_cuMemGetAllocationGranularity_v10020 granularity =
        find<PFN_cuMemGetAllocationGranularity_v10020>("cuMemGetAllocationGranularity");
    PFN_cuMemGetAllocationPropertiesFromHandle_v10020 properties =
        find<PFN_cuMemGetAllocationPropertiesFromHandle_v10020>(
            "cuMemGetAllocationPropertiesFromHandle");
    PFN_cuMemExportToShareableHandle_v10020 export_handle =
        find<PFN_cuMemExportToShareableHandle_v10020>("cuMemExportToShareableHandle");
    PFN_cuMemImportFromShareableHandle_v10020 import_handle =
        find<PFN_cuMemImportFromShareableHandle_v10020>("cuMemImportFromShareableHandle");

    CUresult import_descriptor(CUmemGenericAllocationHandle *handle, int descriptor) const {
        void *given = reinterpret_cast<void *>(static_cast<uintptr_t>(descriptor));
        return import_handle(handle, given, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    }
};

static CUmemAllocationProp shared_memory(CUmemAllocationHandleType types) {
    CUmemAllocationProp properties = {};
    properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.requestedHandleTypes = types;
    properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    properties.location.id = 0;
    return properties;
}

// Mapped memory, readable and writable.
class Mapping {
public:
    Mapping(const Driver &driver, CUmemGenericAllocationHandle handle, size_t bytes)
        : driver_(driver), bytes_(bytes) {
        CHECK_DRIVER(driver_.reserve(&base_, bytes, 0, 0, 0));
        CHECK_DRIVER(driver_.map(base_, bytes, 0, handle, 0));
        CUmemAccessDesc access = {};
        access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
        access.location.id = 0;
        access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
        CHECK_DRIVER(driver_.set_access(base_, bytes, &access, 1));
    }

    ~Mapping() {
        CHECK_DRIVER(driver_.unmap(base_, bytes_));
        CHECK_DRIVER(driver_.free(base_, bytes_));
    }

    unsigned *words() const { return reinterpret_cast<unsigned *>(base_); }

private:
    const Driver &driver_;
    size_t bytes_;
    CUdeviceptr base_ = 0;
};

__global__ void write_words(unsigned *words, size_t count, unsigned factor) {
    const size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < count) {
        words[i] = static_cast<unsigned>(i) * factor;
    }
}

__global__ void count_wrong(const unsigned *words, size_t count, unsigned factor, unsigned *wrong) {
    const size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < count && words[i] != static_cast<unsigned>(i) * factor) {
        atomicAdd(wrong, 1);
    }
}

static unsigned blocks() { return static_cast<unsigned>((WORDS + 255) / 256); }

static unsigned wrong_words(const unsigned *words, unsigned factor) {
    unsigned *wrong = nullptr;
    unsigned count = ~0u;
    CHECK(cudaMalloc(&wrong, sizeof *wrong));
    CHECK(cudaMemset(wrong, 0, sizeof *wrong));
    count_wrong<<<blocks(), 256>>>(words, WORDS, factor, wrong);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&count, wrong, sizeof count, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(wrong));
    return count;
}

static void importer(int socket) {
    const int descriptor = hear_descriptor(socket);
    const size_t bytes = hear<size_t>(socket);
    CHECK(cudaFree(nullptr));
    const Driver driver;
    CUmemGenericAllocationHandle handle;
    CHECK_DRIVER(driver.import_descriptor(&handle, descriptor));
    close(descriptor);
    CUmemAllocationProp found = {};
    CHECK_DRIVER(driver.properties(&found, handle));
    demand(found.location.type == CU_MEM_LOCATION_TYPE_DEVICE, "the location is another one");
    {
        const Mapping mapping(driver, handle, bytes);
        // It stays while it is mapped.
        CHECK_DRIVER(driver.release(handle));
        tell(socket, wrong_words(mapping.words(), 3));
        write_words<<<blocks(), 256>>>(mapping.words(), WORDS, 7);
        CHECK_LAUNCH();
        CHECK(cudaDeviceSynchronize());
        tell(socket, 0);
        // The exporter has let go of everything, and this is still there.
        hear<int>(socket);
        tell(socket, wrong_words(mapping.words(), 11));
    }
}

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Hands mapped memory to another process as a file descriptor.");
    Process other = start_process(importer);
    CHECK(cudaFree(nullptr));
    const Driver driver;
    const CUmemAllocationProp properties =
        shared_memory(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    size_t granularity = 0;
    CHECK_DRIVER(driver.granularity(&granularity, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    const size_t bytes = (WORDS * sizeof(unsigned) + granularity - 1) / granularity * granularity;
    CUmemGenericAllocationHandle handle;
    CHECK_DRIVER(driver.create(&handle, bytes, &properties, 0));
    CUmemAllocationProp found = {};
    CHECK_DRIVER(driver.properties(&found, handle));
    int descriptor = -1;
    CHECK_DRIVER(driver.export_handle(&descriptor, handle,
                                      CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));

    bool right = true;
    right &= expect("the handle type is remembered",
                    found.requestedHandleTypes == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    const CUmemAllocationProp own = shared_memory(CU_MEM_HANDLE_TYPE_NONE);
    CUmemGenericAllocationHandle kept;
    CHECK_DRIVER(driver.create(&kept, granularity, &own, 0));
    int none = -1;
    right &= expect("memory without handle types stays here",
                    driver.export_handle(&none, kept, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
                                         0) != CUDA_SUCCESS);
    CHECK_DRIVER(driver.release(kept));
    int ends[2];
    demand(pipe(ends) == 0, "no pipe");
    CUmemGenericAllocationHandle wrong;
    right &= expect("another descriptor is refused",
                    driver.import_descriptor(&wrong, ends[0]) != CUDA_SUCCESS);
    close(ends[0]);
    close(ends[1]);

    {
        const Mapping mapping(driver, handle, bytes);
        write_words<<<blocks(), 256>>>(mapping.words(), WORDS, 3);
        CHECK_LAUNCH();
        CHECK(cudaDeviceSynchronize());
        tell_descriptor(other.socket, descriptor);
        close(descriptor);
        tell(other.socket, bytes);
        const unsigned there = hear<unsigned>(other.socket);
        hear<int>(other.socket);
        const unsigned here = wrong_words(mapping.words(), 7);
        std::printf("wrong words: %u there, %u here\n", there, here);
        right &= there == 0 && here == 0;
        write_words<<<blocks(), 256>>>(mapping.words(), WORDS, 11);
        CHECK_LAUNCH();
        CHECK(cudaDeviceSynchronize());
    }
    CHECK_DRIVER(driver.release(handle));
    tell(other.socket, 0);
    const unsigned last = hear<unsigned>(other.socket);
    std::printf("wrong words when the first has let go: %u\n", last);
    right &= last == 0;
    right &= expect("the other ends well", other.ends_well());
    return report("vmm_share_fd", right);
}
