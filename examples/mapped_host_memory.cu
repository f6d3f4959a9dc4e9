// SPDX-License-Identifier: Apache-2.0
//
// Host memory that kernels read and write in place, without a copy in the program.

#include "check.h"

__global__ void square(const int *from, int *to, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        to[i] = from[i] * from[i];
    }
}

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

int main(int argc, char **argv) {
    const int count = size_argument(argc, argv, "Kernels use host memory.", "elements", 20000,
                                    1 << 26);
    const size_t bytes = count * sizeof(int);
    const int blocks = (count + 255) / 256;
    int can_map = 0;
    CHECK(cudaDeviceGetAttribute(&can_map, cudaDevAttrCanMapHostMemory, 0));
    if (!can_map) {
        std::printf("the device cannot map host memory\n");
        return report("mapped_host_memory", true);
    }
    int *from = nullptr, *to = nullptr;
    CHECK(cudaHostAlloc(&from, bytes, cudaHostAllocMapped));
    CHECK(cudaHostAlloc(&to, bytes, cudaHostAllocMapped));
    int *device_from = nullptr, *device_to = nullptr;
    CHECK(cudaHostGetDevicePointer(&device_from, from, 0));
    CHECK(cudaHostGetDevicePointer(&device_to, to, 0));
    bool right = true;
    for (int round = 1; round <= 3; ++round) {
        for (int i = 0; i < count; ++i) {
            from[i] = i % 1000 + round;
        }
        square<<<blocks, 256>>>(device_from, device_to, count);
        CHECK_LAUNCH();
        CHECK(cudaDeviceSynchronize());
        for (int i = 0; i < count; ++i) {
            const int expected = (i % 1000 + round) * (i % 1000 + round);
            right = right && to[i] == expected;
        }
    }
    right = expect("three rounds of in and out", right);

    // While a stream works on one half, the host prepares the other one.
    cudaStream_t stream[2] = {};
    const int half = count / 2;
    for (int s = 0; s < 2; ++s) {
        CHECK(cudaStreamCreateWithFlags(&stream[s], cudaStreamNonBlocking));
        for (int i = s * half; i < (s + 1) * half; ++i) {
            from[i] = i % 100 + 7 * s;
        }
        square<<<(half + 255) / 256, 256, 0, stream[s]>>>(device_from + s * half,
                                                           device_to + s * half, half);
        CHECK_LAUNCH();
    }
    bool is_so = true;
    for (int s = 0; s < 2; ++s) {
        CHECK(cudaStreamSynchronize(stream[s]));
        for (int i = s * half; i < (s + 1) * half; ++i) {
            is_so = is_so && to[i] == (i % 100 + 7 * s) * (i % 100 + 7 * s);
        }
        CHECK(cudaStreamDestroy(stream[s]));
    }
    right &= expect("two streams on two halves", is_so);

    // Copies see what kernels have written there.
    int *device = nullptr;
    CHECK(cudaMalloc(&device, bytes));
    from[0] = 9;
    square<<<blocks, 256>>>(device_from, device_to, count);
    CHECK(cudaMemcpyAsync(device, to, bytes, cudaMemcpyHostToDevice));
    square<<<blocks, 256>>>(device, device_to, count);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    right &= expect("a copy comes after the kernel before it", to[0] == 6561);

    cudaPointerAttributes attributes = {};
    CHECK(cudaPointerGetAttributes(&attributes, from));
    right &= expect("it is host memory with a device pointer",
                    attributes.type == cudaMemoryTypeHost && attributes.hostPointer == from &&
                        attributes.devicePointer == device_from);
    int other = 0;
    void *none = nullptr;
    right &= expect("ordinary memory has none",
                    cudaHostGetDevicePointer(&none, &other, 0) == cudaErrorInvalidValue);
    cudaGetLastError();
    CHECK(cudaFree(device));
    CHECK(cudaFreeHost(from));
    CHECK(cudaFreeHost(to));
    return report("mapped_host_memory", right);
}
