// SPDX-License-Identifier: Apache-2.0
//
// Complex arithmetic with cuComplex.h, and a discrete Fourier transform there and back. Products,
// quotients and magnitudes are compared with the CPU's in a wider type.

#include "elementwise.h"

#include <cuComplex.h>

#include <complex>

struct Pair {
    cuFloatComplex a, b;
};

constexpr int LENGTH = 256;

// X[k] = sum of x[n] exp(sign 2 pi i k n / LENGTH)
__global__ void transform(const cuDoubleComplex *in, cuDoubleComplex *out, double sign, double scale) {
    const int k = blockIdx.x * blockDim.x + threadIdx.x;
    cuDoubleComplex sum = make_cuDoubleComplex(0, 0);
    for (int n = 0; n < LENGTH; ++n) {
        double sine, cosine;
        sincospi(sign * 2.0 * (k * n % LENGTH) / LENGTH, &sine, &cosine);
        sum = cuCfma(in[n], make_cuDoubleComplex(cosine, sine), sum);
    }
    out[k] = make_cuDoubleComplex(cuCreal(sum) * scale, cuCimag(sum) * scale);
}

__global__ void single(const Pair *in, cuFloatComplex *out, float *magnitudes, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        const auto [a, b] = in[i];
        out[4 * i] = cuCaddf(a, cuConjf(b));
        out[4 * i + 1] = cuCsubf(a, b);
        out[4 * i + 2] = cuCmulf(a, b);
        out[4 * i + 3] = cuCdivf(a, b);
        magnitudes[i] = cuCabsf(a);
    }
}

bool close(std::complex<double> got, std::complex<double> expected, double scale, double error) {
    return std::abs(got - expected) <= error * scale;
}

bool single_precision(Random &random) {
    constexpr int count = 1000;
    std::vector<Pair> in(count);
    const auto number = [&] {
        return make_cuFloatComplex(random() * 0x1p-30f - 2, random() * 0x1p-30f - 2);
    };
    for (auto &pair : in) {
        pair = {number(), number()};
    }
    Pair *device_in = nullptr;
    cuFloatComplex *device_out = nullptr;
    float *device_magnitudes = nullptr;
    CHECK(cudaMalloc(&device_in, count * sizeof(Pair)));
    CHECK(cudaMalloc(&device_out, 4 * count * sizeof(cuFloatComplex)));
    CHECK(cudaMalloc(&device_magnitudes, count * sizeof(float)));
    CHECK(cudaMemcpy(device_in, in.data(), count * sizeof(Pair), cudaMemcpyHostToDevice));
    single<<<(count + 63) / 64, 64>>>(device_in, device_out, device_magnitudes, count);
    CHECK_LAUNCH();
    std::vector<cuFloatComplex> out(4 * count);
    std::vector<float> magnitudes(count);
    CHECK(cudaMemcpy(out.data(), device_out, out.size() * sizeof(out[0]), cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(magnitudes.data(), device_magnitudes, count * sizeof(float),
                     cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_in));
    CHECK(cudaFree(device_out));
    CHECK(cudaFree(device_magnitudes));
    int wrong[5] = {};
    for (int i = 0; i < count; ++i) {
        const std::complex<double> a(in[i].a.x, in[i].a.y), b(in[i].b.x, in[i].b.y);
        const std::complex<double> expected[] = {a + std::conj(b), a - b, a * b, a / b};
        const double scale[] = {4, 4, std::abs(a) * std::abs(b), std::abs(a) / std::abs(b)};
        for (int j = 0; j < 4; ++j) {
            const std::complex<double> got(out[4 * i + j].x, out[4 * i + j].y);
            wrong[j] += !close(got, expected[j], scale[j], 1e-6);
        }
        wrong[4] += !(std::fabs(magnitudes[i] - std::abs(a)) <= 1e-6 * std::abs(a));
    }
    std::printf("wrong of %d: sums %d, differences %d, products %d, quotients %d, magnitudes %d\n",
                count, wrong[0], wrong[1], wrong[2], wrong[3], wrong[4]);
    return wrong[0] + wrong[1] + wrong[2] + wrong[3] + wrong[4] == 0;
}

bool fourier(Random &random) {
    std::vector<cuDoubleComplex> signal(LENGTH), spectrum(LENGTH), back(LENGTH);
    for (auto &sample : signal) {
        sample = make_cuDoubleComplex(random() * 0x1p-31 - 1, random() * 0x1p-31 - 1);
    }
    constexpr size_t bytes = LENGTH * sizeof(cuDoubleComplex);
    cuDoubleComplex *device_signal = nullptr, *device_spectrum = nullptr;
    CHECK(cudaMalloc(&device_signal, bytes));
    CHECK(cudaMalloc(&device_spectrum, bytes));
    CHECK(cudaMemcpy(device_signal, signal.data(), bytes, cudaMemcpyHostToDevice));
    transform<<<LENGTH / 64, 64>>>(device_signal, device_spectrum, -1, 1);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(spectrum.data(), device_spectrum, bytes, cudaMemcpyDeviceToHost));
    transform<<<LENGTH / 64, 64>>>(device_spectrum, device_signal, 1, 1.0 / LENGTH);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(back.data(), device_signal, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_signal));
    CHECK(cudaFree(device_spectrum));
    int wrong = 0, lost = 0;
    const double pi = std::acos(-1.0);
    for (int k = 0; k < LENGTH; ++k) {
        std::complex<double> sum = 0;
        for (int n = 0; n < LENGTH; ++n) {
            sum += std::complex<double>(signal[n].x, signal[n].y) *
                   std::polar(1.0, -2 * pi * (k * n % LENGTH) / LENGTH);
        }
        wrong += !close({spectrum[k].x, spectrum[k].y}, sum, LENGTH, 1e-13);
        lost += !close({back[k].x, back[k].y}, {signal[k].x, signal[k].y}, 1, 1e-13);
    }
    std::printf("Fourier transform of %d: %d wrong, %d wrong after the way back\n", LENGTH, wrong, lost);
    return wrong == 0 && lost == 0;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Computes with complex numbers.");
    Random random;
    const bool singles = single_precision(random), transformed = fourier(random);
    return report("complex_numbers", singles && transformed);
}
