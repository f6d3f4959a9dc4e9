// SPDX-License-Identifier: Apache-2.0
// devices: 2
//
// One program on all devices: each has its own memory, streams and variables, and works on its
// share.

#include "check.h"

#include <vector>

__device__ int offset = 1;

__global__ void square_up(const int *from, int *to, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        to[i] = from[i] * from[i] + offset;
    }
}

struct Share {
    cudaStream_t stream = nullptr;
    int *from = nullptr;
    int *to = nullptr;
};

int main(int argc, char **argv) {
    const int each = size_argument(argc, argv, "Shares work among devices.", "elements a device",
                                   30000, 1 << 24);
    const size_t bytes = each * sizeof(int);
    int devices = 0;
    CHECK(cudaGetDeviceCount(&devices));
    std::vector<int> input(static_cast<size_t>(devices) * each), output(input.size());
    for (size_t i = 0; i < input.size(); ++i) {
        input[i] = static_cast<int>(i % 10000);
    }
    std::vector<Share> shares(devices);
    for (int d = 0; d < devices; ++d) {
        Share &share = shares[d];
        CHECK(cudaSetDevice(d));
        CHECK(cudaStreamCreate(&share.stream));
        CHECK(cudaMalloc(&share.from, bytes));
        CHECK(cudaMalloc(&share.to, bytes));
        // Each device has a variable of its own.
        const int own = d + 1;
        CHECK(cudaMemcpyToSymbol(offset, &own, sizeof(own)));
        CHECK(cudaMemcpyAsync(share.from, &input[d * each], bytes, cudaMemcpyHostToDevice,
                              share.stream));
        square_up<<<(each + 255) / 256, 256, 0, share.stream>>>(share.from, share.to, each);
        CHECK_LAUNCH();
    }
    for (int d = 0; d < devices; ++d) {
        Share &share = shares[d];
        CHECK(cudaSetDevice(d));
        CHECK(cudaMemcpyAsync(&output[d * each], share.to, bytes, cudaMemcpyDeviceToHost,
                              share.stream));
        CHECK(cudaStreamSynchronize(share.stream));
    }
    bool right = true;
    for (size_t i = 0; i < input.size(); ++i) {
        const int device = static_cast<int>(i / each);
        right = right && output[i] == input[i] * input[i] + device + 1;
    }
    for (int d = 0; d < devices; ++d) {
        cudaPointerAttributes attributes = {};
        CHECK(cudaPointerGetAttributes(&attributes, shares[d].to));
        right = right && attributes.device == d;
        CHECK(cudaSetDevice(d));
        CHECK(cudaFree(shares[d].from));
        CHECK(cudaFree(shares[d].to));
        CHECK(cudaStreamDestroy(shares[d].stream));
    }
    std::printf("%d devices squared %zu numbers\n", devices, input.size());
    return report("multi_device", right);
}
