// SPDX-License-Identifier: Apache-2.0
//
// What the examples about functions share: results may differ from the right ones by as many
// units in the last place as CUDA's documentation states.

#pragma once

#include "elementwise.h"

template <typename Bits, typename T> long long rank(T value) {
    Bits bits;
    std::memcpy(&bits, &value, sizeof bits);
    const Bits magnitude = bits & static_cast<Bits>(~Bits(0) >> 1);
    return bits == magnitude ? static_cast<long long>(magnitude) : -static_cast<long long>(magnitude);
}

// Units in the last place between two numbers; a huge number if only one of them is a NaN.
inline long long distance(float a, float b) {
    if (std::isnan(a) || std::isnan(b)) {
        return std::isnan(a) && std::isnan(b) ? 0 : 1ll << 60;
    }
    return std::llabs(rank<unsigned>(a) - rank<unsigned>(b));
}
inline long long distance(double a, double b) {
    if (std::isnan(a) || std::isnan(b)) {
        return std::isnan(a) && std::isnan(b) ? 0 : 1ll << 60;
    }
    const long long x = rank<unsigned long long>(a), y = rank<unsigned long long>(b);
    // Numbers of opposite signs may be further apart than the type tells.
    return (x < 0) == (y < 0) ? std::llabs(x - y)
                              : static_cast<long long>(std::fmin(
                                    std::fabs(static_cast<double>(x)) + std::fabs(static_cast<double>(y)), 1e18));
}

// Prints how many results are further away than `limit`; whether none is.
template <typename Function, typename In>
bool within(const char *name, long long limit, const std::vector<In> &in) {
    const auto out = on_device<Function>(in);
    size_t beyond = 0;
    for (size_t i = 0; i < in.size(); ++i) {
        const auto expected = Function::host(in[i]);
        if (distance(out[i], expected) > limit) {
            if (++beyond <= 3) {
                std::fprintf(stderr, "%s: element %zu: %.17g, not %.17g\n", name, i,
                             static_cast<double>(out[i]), static_cast<double>(expected));
            }
        }
    }
    std::printf("%-12s %zu of %zu differ by more than %lld\n", name, beyond, in.size(), limit);
    return beyond == 0;
}
