// SPDX-License-Identifier: Apache-2.0
//
// Managed memory that is the host's: no kernel uses it, but copies and memsets may name it. The
// host writes it, and sees what the calls have put there. Between device memory and managed memory
// even a plain copy need not be complete when its call returns, so the program waits.

#include "check.h"

#include <cstring>
#include <vector>

constexpr int WIDTH = 32;
constexpr int HEIGHT = 16;
constexpr int COUNT = WIDTH * HEIGHT;

__global__ void add(int *values, int amount) {
    values[blockIdx.x * blockDim.x + threadIdx.x] += amount;
}

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

static bool is_ramp(const int *values, int first) {
    for (int i = 0; i < COUNT; ++i) {
        if (values[i] != first + i) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Managed memory of the host.");
    const size_t bytes = COUNT * sizeof(int);
    int *managed, *device;
    CHECK(cudaMallocManaged(&managed, bytes, cudaMemAttachHost));
    CHECK(cudaMalloc(&device, bytes));
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));

    for (int i = 0; i < COUNT; ++i) {
        managed[i] = i;
    }
    CHECK(cudaMemcpy(device, managed, bytes, cudaMemcpyDefault));
    add<<<HEIGHT, WIDTH>>>(device, 1000);
    CHECK(cudaMemcpy(managed, device, bytes, cudaMemcpyDefault));
    CHECK(cudaDeviceSynchronize());
    bool right = tell("a copy from it and a copy to it", is_ramp(managed, 1000));

    // The host's next changes travel too.
    for (int i = 0; i < COUNT; ++i) {
        managed[i] = 5000 + i;
    }
    CHECK(cudaMemcpyAsync(device, managed, bytes, cudaMemcpyDefault, stream));
    add<<<HEIGHT, WIDTH, 0, stream>>>(device, -5000);
    CHECK(cudaStreamSynchronize(stream));
    std::vector<int> host(COUNT, -1);
    CHECK(cudaMemcpy(host.data(), device, bytes, cudaMemcpyDeviceToHost));
    right = tell("a copy in a stream", is_ramp(host.data(), 0)) && right;
    CHECK(cudaMemcpyAsync(managed, device, bytes, cudaMemcpyDefault, stream));
    CHECK(cudaStreamSynchronize(stream));
    right = tell("and back", is_ramp(managed, 0)) && right;

    cudaArray_t array;
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<int>();
    CHECK(cudaMallocArray(&array, &format, WIDTH, HEIGHT));
    const size_t row = WIDTH * sizeof(int);
    for (int i = 0; i < COUNT; ++i) {
        managed[i] = 70 + i;
    }
    CHECK(cudaMemcpy2DToArray(array, 0, 0, managed, row, row, HEIGHT, cudaMemcpyDefault));
    CHECK(cudaDeviceSynchronize());
    std::memset(managed, 0xff, bytes);
    CHECK(cudaMemcpy2DFromArray(managed, row, array, 0, 0, row, HEIGHT, cudaMemcpyDefault));
    CHECK(cudaDeviceSynchronize());
    right = tell("through an array", is_ramp(managed, 70)) && right;
    std::memset(managed, 0xff, bytes);
    CHECK(cudaMemcpy2DFromArrayAsync(managed, row, array, 0, 0, row, HEIGHT, cudaMemcpyDefault,
                                     stream));
    CHECK(cudaStreamSynchronize(stream));
    right = tell("through an array, in a stream", is_ramp(managed, 70)) && right;

    CHECK(cudaMemcpy2D(managed, row, host.data(), row, row / 2, HEIGHT, cudaMemcpyDefault));
    CHECK(cudaDeviceSynchronize());
    bool halves = true;
    for (int i = 0; i < COUNT; ++i) {
        halves = halves && managed[i] == (i % WIDTH < WIDTH / 2 ? i : 70 + i);
    }
    right = tell("rows with gaps", halves) && right;

    CHECK(cudaMemset(managed, 0, bytes / 2));
    CHECK(cudaDeviceSynchronize());
    right = tell("a memset", managed[0] == 0 && managed[COUNT / 2 - 1] == 0 &&
                                 managed[COUNT - 1] == 70 + COUNT - 1) && right;
    CHECK(cudaMemsetAsync(managed, 1, bytes, stream));
    CHECK(cudaStreamSynchronize(stream));
    right = tell("a memset in a stream", managed[0] == 0x01010101 &&
                                             managed[COUNT - 1] == 0x01010101) && right;

    CHECK(cudaStreamAttachMemAsync(stream, managed, 0, cudaMemAttachGlobal));
    CHECK(cudaStreamSynchronize(stream));
    add<<<HEIGHT, WIDTH, 0, stream>>>(managed, 1);
    CHECK(cudaStreamSynchronize(stream));
    right = tell("kernels use it once it is theirs", managed[COUNT - 1] == 0x01010102) && right;

    CHECK(cudaFreeArray(array));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFree(device));
    CHECK(cudaFree(managed));
    return report("managed_attach", right);
}
