// SPDX-License-Identifier: Apache-2.0
//
// A memory pool that another process imports: allocations are made by one process and used by
// both, in the order that events between processes make.

#include "check.h"
#include "processes.h"

#include <cstdint>

constexpr int BUFFERS = 3;
constexpr int COUNTS[BUFFERS] = {1000, 250000, 7};

struct Task {
    cudaMemPoolPtrExportData pointers[BUFFERS];
    cudaIpcEventHandle_t is_filled;
};

__global__ void fill(int *values, int count, int first) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] = first + i;
    }
}

__global__ void negate(int *values, int count, int first, int *wrong) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        if (values[i] != first + i) {
            atomicAdd(wrong, 1);
        }
        values[i] = -values[i];
    }
}

static int blocks(int count) { return (count + 255) / 256; }

static void importer(int socket) {
    const int descriptor = hear_descriptor(socket);
    Task task = hear<Task>(socket);
    cudaMemPool_t pool = nullptr;
    CHECK(cudaMemPoolImportFromShareableHandle(
        &pool, reinterpret_cast<void *>(static_cast<uintptr_t>(descriptor)),
        cudaMemHandleTypePosixFileDescriptor, 0));
    close(descriptor);
    cudaStream_t stream;
    cudaEvent_t is_filled;
    int *wrong = nullptr;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CHECK(cudaIpcOpenEventHandle(&is_filled, task.is_filled));
    CHECK(cudaMalloc(&wrong, sizeof *wrong));
    CHECK(cudaMemset(wrong, 0, sizeof *wrong));
    CHECK(cudaDeviceSynchronize());

    // Nothing is allocated from an imported pool.
    void *refused = nullptr;
    demand(cudaMallocFromPoolAsync(&refused, 64, pool, stream) != cudaSuccess,
           "an imported pool gives memory");
    cudaGetLastError();

    CHECK(cudaStreamWaitEvent(stream, is_filled, 0));
    for (int i = 0; i < BUFFERS; i++) {
        void *pointer = nullptr;
        CHECK(cudaMemPoolImportPointer(&pointer, pool, &task.pointers[i]));
        negate<<<blocks(COUNTS[i]), 256, 0, stream>>>(static_cast<int *>(pointer), COUNTS[i],
                                                      1000 * i, wrong);
        CHECK_LAUNCH();
        // Freed here first, as the exporter must not before.
        CHECK(cudaFreeAsync(pointer, stream));
    }
    CHECK(cudaStreamSynchronize(stream));
    int found = -1;
    CHECK(cudaMemcpy(&found, wrong, sizeof found, cudaMemcpyDeviceToHost));
    tell(socket, found);
    CHECK(cudaEventDestroy(is_filled));
    CHECK(cudaFree(wrong));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaMemPoolDestroy(pool));
}

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Shares a memory pool with another process.");
    Process other = start_process(importer);

    int types = 0;
    CHECK(cudaDeviceGetAttribute(&types, cudaDevAttrMemoryPoolSupportedHandleTypes, 0));
    bool right = true;
    right &= expect("pools can be shared as descriptors",
                    (types & cudaMemHandleTypePosixFileDescriptor) != 0);
    cudaMemPoolProps properties = {};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.handleTypes = cudaMemHandleTypePosixFileDescriptor;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = 0;
    cudaMemPool_t pool = nullptr;
    CHECK(cudaMemPoolCreate(&pool, &properties));
    cudaMemPool_t own = nullptr;
    CHECK(cudaDeviceGetDefaultMemPool(&own, 0));
    int descriptor = -1;
    right &= expect("the default pool stays here",
                    cudaMemPoolExportToShareableHandle(
                        &descriptor, own, cudaMemHandleTypePosixFileDescriptor, 0) != cudaSuccess);
    cudaGetLastError();
    CHECK(cudaMemPoolExportToShareableHandle(&descriptor, pool,
                                             cudaMemHandleTypePosixFileDescriptor, 0));

    cudaStream_t stream;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    cudaEvent_t is_filled;
    CHECK(cudaEventCreateWithFlags(&is_filled, cudaEventInterprocess | cudaEventDisableTiming));
    Task task = {};
    int *buffers[BUFFERS] = {};
    for (int i = 0; i < BUFFERS; i++) {
        void *pointer = nullptr;
        CHECK(cudaMallocFromPoolAsync(&pointer, COUNTS[i] * sizeof(int), pool, stream));
        buffers[i] = static_cast<int *>(pointer);
        fill<<<blocks(COUNTS[i]), 256, 0, stream>>>(buffers[i], COUNTS[i], 1000 * i);
        CHECK_LAUNCH();
        CHECK(cudaMemPoolExportPointer(&task.pointers[i], buffers[i]));
    }
    CHECK(cudaEventRecord(is_filled, stream));
    CHECK(cudaIpcGetEventHandle(&task.is_filled, is_filled));
    tell_descriptor(other.socket, descriptor);
    close(descriptor);
    tell(other.socket, task);
    const int wrong_there = hear<int>(other.socket);
    std::printf("wrong values there: %d\n", wrong_there);
    right &= wrong_there == 0;
    right &= expect("the other ends well", other.ends_well());

    int wrong = 0;
    for (int i = 0; i < BUFFERS; i++) {
        int ends[2] = {};
        CHECK(cudaMemcpy(&ends[0], buffers[i], sizeof(int), cudaMemcpyDeviceToHost));
        CHECK(cudaMemcpy(&ends[1], buffers[i] + COUNTS[i] - 1, sizeof(int),
                         cudaMemcpyDeviceToHost));
        wrong += ends[0] != -1000 * i;
        wrong += ends[1] != -(1000 * i + COUNTS[i] - 1);
        CHECK(cudaFreeAsync(buffers[i], stream));
    }
    std::printf("wrong values here: %d\n", wrong);
    right &= wrong == 0;
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaEventDestroy(is_filled));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaMemPoolDestroy(pool));
    return report("pool_share_fd", right);
}
