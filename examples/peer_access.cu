// SPDX-License-Identifier: Apache-2.0
// devices: 2
//
// A kernel on one device that uses the memory of another one, and copies between devices.

#include "check.h"

__global__ void fill(int *values, int count, int first) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] = first + i;
    }
}

__global__ void add(int *sum, const int *here, const int *there, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        sum[i] = here[i] + there[i];
    }
}

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

int main(int argc, char **argv) {
    const int count = size_argument(argc, argv, "Uses the memory of another device.", "elements",
                                    50000, 1 << 24);
    const size_t bytes = count * sizeof(int);
    const int blocks = (count + 255) / 256;
    int devices = 0, can = 0;
    CHECK(cudaGetDeviceCount(&devices));
    if (devices >= 2) {
        CHECK(cudaDeviceCanAccessPeer(&can, 0, 1));
    }
    if (!can) {
        std::printf("there are no two devices that reach each other\n");
        return report("peer_access", true);
    }
    int *here = nullptr, *sum = nullptr, *there = nullptr;
    CHECK(cudaSetDevice(1));
    CHECK(cudaMalloc(&there, bytes));
    fill<<<blocks, 256>>>(there, count, 1000);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaSetDevice(0));
    CHECK(cudaMalloc(&here, bytes));
    CHECK(cudaMalloc(&sum, bytes));
    fill<<<blocks, 256>>>(here, count, 0);
    CHECK_LAUNCH();

    bool right = expect("access that is not enabled cannot be ended",
                        cudaDeviceDisablePeerAccess(1) == cudaErrorPeerAccessNotEnabled);
    cudaGetLastError();
    CHECK(cudaDeviceEnablePeerAccess(1, 0));
    right &= expect("it cannot be enabled twice",
                    cudaDeviceEnablePeerAccess(1, 0) == cudaErrorPeerAccessAlreadyEnabled);
    cudaGetLastError();
    add<<<blocks, 256>>>(sum, here, there, count);
    CHECK_LAUNCH();
    int *host = static_cast<int *>(std::malloc(bytes));
    CHECK(cudaMemcpy(host, sum, bytes, cudaMemcpyDeviceToHost));
    bool is_so = true;
    for (int i = 0; i < count; ++i) {
        is_so = is_so && host[i] == 1000 + 2 * i;
    }
    right &= expect("a kernel reads the other device's memory", is_so);
    fill<<<blocks, 256>>>(there, count, 5);
    CHECK_LAUNCH();
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaMemcpy(host, there, bytes, cudaMemcpyDeviceToHost));
    right &= expect("and writes it", host[0] == 5 && host[count - 1] == count + 4);
    CHECK(cudaDeviceDisablePeerAccess(1));

    // Copies need no access.
    CHECK(cudaMemcpyPeer(here, 0, there, 1, bytes));
    CHECK(cudaMemcpy(host, here, bytes, cudaMemcpyDeviceToHost));
    right &= expect("a copy between devices", host[1] == 6);
    cudaStream_t stream = nullptr;
    CHECK(cudaStreamCreate(&stream));
    fill<<<blocks, 256, 0, stream>>>(here, count, 70);
    CHECK(cudaMemcpyPeerAsync(there, 1, here, 0, bytes, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaMemcpy(host, there, bytes, cudaMemcpyDefault));
    right &= expect("in the order of a stream", host[1] == 71 && host[count - 1] == 69 + count);

    // Last, because it ends the context of device 0.
    add<<<blocks, 256>>>(sum, here, there, count);
    right &= expect("without access it is an illegal address",
                    cudaDeviceSynchronize() == cudaErrorIllegalAddress);
    std::free(host);
    return report("peer_access", right);
}
