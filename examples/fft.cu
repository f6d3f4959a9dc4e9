// SPDX-License-Identifier: Apache-2.0
//
// A fast Fourier transform (Stockham's, radix 2, in shared memory), against the definition, and
// there and back again.

#include "check.h"

#include <cmath>
#include <vector>

constexpr int COUNT = 512;

__device__ float2 multiply(float2 a, float2 b) {
    return {a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x};
}

// One transform a block; `direction` is -1 forwards and 1 back.
__global__ void transform(const float2 *input, float2 *output, float direction) {
    __shared__ float2 buffers[2][COUNT];
    const int thread = threadIdx.x;
    for (int i = thread; i < COUNT; i += COUNT / 2) {
        buffers[0][i] = input[blockIdx.x * COUNT + i];
    }
    int from = 0;
    for (int half = 1; half < COUNT; half *= 2) {
        __syncthreads();
        const int k = thread % half;
        float sine, cosine;
        sincospif(direction * k / half, &sine, &cosine);
        const float2 a = buffers[from][thread];
        const float2 b = multiply(buffers[from][thread + COUNT / 2], {cosine, sine});
        const int place = (thread / half) * 2 * half + k;
        buffers[1 - from][place] = {a.x + b.x, a.y + b.y};
        buffers[1 - from][place + half] = {a.x - b.x, a.y - b.y};
        from = 1 - from;
    }
    __syncthreads();
    for (int i = thread; i < COUNT; i += COUNT / 2) {
        output[blockIdx.x * COUNT + i] = buffers[from][i];
    }
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "A fast Fourier transform.");
    constexpr int BATCH = 4;
    std::vector<float2> signal(BATCH * COUNT), spectrum(BATCH * COUNT), back(BATCH * COUNT);
    unsigned state = 5;
    for (float2 &value : signal) {
        state = state * 1664525u + 1013904223u;
        value = {(state >> 16) / 65536.0f - 0.5f, (state & 0xffff) / 65536.0f - 0.5f};
    }
    float2 *input, *output;
    const size_t bytes = signal.size() * sizeof(float2);
    CHECK(cudaMalloc(&input, bytes));
    CHECK(cudaMalloc(&output, bytes));
    CHECK(cudaMemcpy(input, signal.data(), bytes, cudaMemcpyHostToDevice));
    transform<<<BATCH, COUNT / 2>>>(input, output, -1);
    CHECK(cudaMemcpy(spectrum.data(), output, bytes, cudaMemcpyDeviceToHost));
    transform<<<BATCH, COUNT / 2>>>(output, input, 1);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(back.data(), input, bytes, cudaMemcpyDeviceToHost));

    const double pi = std::acos(-1.0);
    double worst = 0, worst_back = 0;
    for (int k = 0; k < COUNT; k += 13) {
        double real = 0, imaginary = 0;
        for (int i = 0; i < COUNT; ++i) {
            const double angle = -2 * pi * i * k / COUNT;
            const float2 value = signal[COUNT + i];
            real += value.x * std::cos(angle) - value.y * std::sin(angle);
            imaginary += value.x * std::sin(angle) + value.y * std::cos(angle);
        }
        const float2 got = spectrum[COUNT + k];
        worst = std::fmax(worst, std::hypot(got.x - real, got.y - imaginary));
    }
    for (size_t i = 0; i < signal.size(); ++i) {
        worst_back = std::fmax(worst_back, std::hypot(back[i].x / COUNT - signal[i].x,
                                                      back[i].y / COUNT - signal[i].y));
    }
    std::fprintf(stderr, "largest errors: %g, %g\n", worst, worst_back);
    std::printf("%d transforms of %d points agree with the definition: %s\n", BATCH, COUNT,
                worst < 1e-4 ? "yes" : "no");
    std::printf("there and back again: %s\n", worst_back < 1e-6 ? "yes" : "no");
    CHECK(cudaFree(input));
    CHECK(cudaFree(output));
    return report("fft", worst < 1e-4 && worst_back < 1e-6);
}
