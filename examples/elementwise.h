// SPDX-License-Identifier: Apache-2.0
//
// What the examples about single operations share: apply one to every element on the device,
// apply it on the CPU too, and count where they differ.

#pragma once

#include "check.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

template <typename Operation, typename In, typename Out>
__global__ void apply_on_device(const In *in, Out *out, int count) {
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < count) {
        out[index] = Operation::device(in[index]);
    }
}

// The operation's results for all inputs, computed on the device.
template <typename Operation, typename In>
auto on_device(const std::vector<In> &in) {
    using Out = decltype(Operation::host(in[0]));
    const int count = static_cast<int>(in.size());
    In *device_in = nullptr;
    Out *device_out = nullptr;
    CHECK(cudaMalloc(&device_in, count * sizeof(In)));
    CHECK(cudaMalloc(&device_out, count * sizeof(Out)));
    CHECK(cudaMemcpy(device_in, in.data(), count * sizeof(In), cudaMemcpyHostToDevice));
    apply_on_device<Operation><<<(count + 127) / 128, 128>>>(device_in, device_out, count);
    CHECK_LAUNCH();
    std::vector<Out> out(count);
    CHECK(cudaMemcpy(out.data(), device_out, count * sizeof(Out), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_in));
    CHECK(cudaFree(device_out));
    return out;
}

// Whether two results are the same, any NaN being as good as another.
template <typename T> bool same(const T &a, const T &b) {
    return std::memcmp(&a, &b, sizeof(T)) == 0;
}
inline bool same(float a, float b) {
    return std::isnan(a) ? std::isnan(b) : std::memcmp(&a, &b, sizeof a) == 0;
}
inline bool same(double a, double b) {
    return std::isnan(a) ? std::isnan(b) : std::memcmp(&a, &b, sizeof a) == 0;
}

// Prints how many results differ from the CPU's; whether none does.
template <typename Operation, typename In>
bool compare(const char *name, const std::vector<In> &in) {
    const auto out = on_device<Operation>(in);
    size_t different = 0;
    for (size_t i = 0; i < in.size(); ++i) {
        different += !same(out[i], Operation::host(in[i]));
    }
    std::printf("%-24s %zu of %zu differ\n", name, different, in.size());
    return different == 0;
}

// A random number generator that gives the same everywhere.
struct Random {
    unsigned long long state = 1;
    unsigned operator()() {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        return static_cast<unsigned>(state >> 32);
    }
    unsigned long long wide() {
        const unsigned long long high = (*this)();
        return high << 32 | (*this)();
    }
};
