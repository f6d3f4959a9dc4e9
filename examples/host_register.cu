// SPDX-License-Identifier: Apache-2.0
//
// Memory that the program has already, made accessible to kernels.

#include "check.h"

__global__ void count_bytes(const unsigned char *text, size_t length, unsigned *counts) {
    for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < length;
         i += gridDim.x * blockDim.x) {
        atomicAdd(&counts[text[i]], 1u);
    }
}

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

int main(int argc, char **argv) {
    const int pages = size_argument(argc, argv, "Kernels use registered memory.", "pages", 20, 1000);
    const size_t length = static_cast<size_t>(pages) * 4096;
    auto *text = static_cast<unsigned char *>(std::aligned_alloc(4096, length));
    auto *counts = static_cast<unsigned *>(std::aligned_alloc(4096, 4096));
    for (size_t i = 0; i < length; ++i) {
        text[i] = static_cast<unsigned char>(i * i % 251);
    }
    std::memset(counts, 0, 4096);
    CHECK(cudaHostRegister(text, length, cudaHostRegisterMapped));
    CHECK(cudaHostRegister(counts, 4096, cudaHostRegisterMapped));
    bool right = expect("it cannot be registered twice",
                        cudaHostRegister(text, length, cudaHostRegisterMapped) ==
                            cudaErrorHostMemoryAlreadyRegistered);
    cudaGetLastError();

    unsigned char *device_text = nullptr;
    unsigned *device_counts = nullptr;
    CHECK(cudaHostGetDevicePointer(&device_text, text, 0));
    CHECK(cudaHostGetDevicePointer(&device_counts, counts, 0));
    count_bytes<<<8, 128>>>(device_text, length, device_counts);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    unsigned expected[256] = {};
    for (size_t i = 0; i < length; ++i) {
        expected[text[i]] += 1;
    }
    right &= expect("the kernel has counted right",
                    std::memcmp(counts, expected, sizeof(expected)) == 0);
    // Only a part of it, after a change by the host.
    text[100] = 255;
    count_bytes<<<1, 32>>>(device_text + 100, 1, device_counts);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    right &= expect("a pointer into it works too", counts[255] == 1);

    CHECK(cudaHostUnregister(text));
    CHECK(cudaHostUnregister(counts));
    right &= expect("its contents stay", counts[255] == 1 && counts[0] == expected[0]);
    right &= expect("it cannot be unregistered twice",
                    cudaHostUnregister(text) == cudaErrorHostMemoryNotRegistered);
    cudaGetLastError();
    std::free(text);
    std::free(counts);
    return report("host_register", right);
}
