// SPDX-License-Identifier: Apache-2.0
//
// Variables that the host and kernels use by their names, without a copy in the program.

#include "check.h"

struct Settings {
    int factor;
    float offset;
};

__managed__ int counter = 5;
__managed__ Settings settings = {3, 0.5f};
__managed__ float table[1000];

__global__ void fill() {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < 1000) {
        table[i] = i * settings.factor + settings.offset;
        atomicAdd(&counter, 1);
    }
}

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Uses variables on both sides.");
    bool right = expect("the host sees the initial values",
                        counter == 5 && settings.factor == 3 && settings.offset == 0.5f);
    settings.factor = 7;
    counter = 0;
    fill<<<4, 256>>>();
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    bool is_so = true;
    for (int i = 0; i < 1000; ++i) {
        is_so = is_so && table[i] == i * 7 + 0.5f;
    }
    right &= expect("kernels see what the host has set", is_so);
    right &= expect("the host sees what kernels have counted", counter == 1000);
    settings.offset = 2.0f;
    fill<<<4, 256>>>();
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    right &= expect("and so on", table[10] == 72.0f && counter == 2000);

    void *address = nullptr;
    CHECK(cudaGetSymbolAddress(&address, counter));
    right &= expect("both sides have one address", address == &counter);
    cudaPointerAttributes attributes = {};
    CHECK(cudaPointerGetAttributes(&attributes, &counter));
    right &= expect("it is managed memory", attributes.type == cudaMemoryTypeManaged);
    return report("managed_variables", right);
}
