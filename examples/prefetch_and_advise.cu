// SPDX-License-Identifier: Apache-2.0
//
// Hints about managed memory: where it should be, who reads it. They change no result; a program
// may ask which it has given.

#include "check.h"

__global__ void scale(float *values, const float *factors, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] *= factors[i % 16];
    }
}

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

static int attribute(cudaMemRangeAttribute which, const void *start, size_t bytes) {
    int value = 0;
    CHECK(cudaMemRangeGetAttribute(&value, sizeof(value), which, start, bytes));
    return value;
}

int main(int argc, char **argv) {
    const int count = size_argument(argc, argv, "Gives hints about managed memory.", "elements",
                                    1 << 16, 1 << 26);
    const size_t bytes = count * sizeof(float);
    float *values = nullptr, *factors = nullptr;
    CHECK(cudaMallocManaged(&values, bytes));
    CHECK(cudaMallocManaged(&factors, 16 * sizeof(float)));
    for (int i = 0; i < count; ++i) {
        values[i] = static_cast<float>(i);
    }
    for (int i = 0; i < 16; ++i) {
        factors[i] = static_cast<float>(i + 1);
    }

    // Some devices refuse such hints: those that cannot share memory while they are busy.
    cudaMemLocation device = {}, host = {};
    device.type = cudaMemLocationTypeDevice;
    host.type = cudaMemLocationTypeHost;
    cudaStream_t stream = nullptr;
    CHECK(cudaStreamCreate(&stream));
    const bool takes_hints =
        cudaMemAdvise(factors, 16 * sizeof(float), cudaMemAdviseSetReadMostly, device) ==
            cudaSuccess &&
        cudaMemAdvise(values, bytes, cudaMemAdviseSetPreferredLocation, device) == cudaSuccess &&
        cudaMemAdvise(values, bytes, cudaMemAdviseSetAccessedBy, host) == cudaSuccess &&
        cudaMemPrefetchAsync(values, bytes, device, 0, stream) == cudaSuccess;
    cudaGetLastError();
    bool right = true;
    if (takes_hints) {
        right &= expect("read mostly is remembered",
                        attribute(cudaMemRangeAttributeReadMostly, factors, 16 * sizeof(float)));
        right &= expect("so is the preferred location",
                        attribute(cudaMemRangeAttributePreferredLocation, values, bytes) == 0);
        right &= expect("and the last prefetch",
                        attribute(cudaMemRangeAttributeLastPrefetchLocation, values, bytes) == 0);
        int by[2] = {};
        CHECK(cudaMemRangeGetAttribute(by, sizeof(by), cudaMemRangeAttributeAccessedBy, values,
                                       bytes));
        right &= expect("and who accesses it", by[0] == cudaCpuDeviceId && by[1] == cudaInvalidDeviceId);
    }
    scale<<<(count + 255) / 256, 256, 0, stream>>>(values, factors, count);
    CHECK_LAUNCH();
    if (takes_hints) {
        CHECK(cudaMemPrefetchAsync(values, bytes, host, 0, stream));
    }
    CHECK(cudaStreamSynchronize(stream));
    bool is_so = true;
    for (int i = 0; i < count; ++i) {
        is_so = is_so && values[i] == static_cast<float>(i) * static_cast<float>(i % 16 + 1);
    }
    right &= expect("the results are right", is_so);

    float *plain = nullptr;
    CHECK(cudaMalloc(&plain, bytes));
    right &= expect("other memory takes no hints",
                    cudaMemPrefetchAsync(plain, bytes, device, 0, stream) ==
                        cudaErrorInvalidValue);
    cudaGetLastError();
    CHECK(cudaFree(plain));
    CHECK(cudaFree(values));
    CHECK(cudaFree(factors));
    CHECK(cudaStreamDestroy(stream));
    return report("prefetch_and_advise", right);
}
