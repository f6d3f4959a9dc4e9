// SPDX-License-Identifier: Apache-2.0
//
// The functions of float, with the error that CUDA's documentation allows each of them.
// The CPU computes them in a wider type and rounds once.

#include "ulp.h"

using Wide = double;
struct Pair {
    float a, b;
};

#define ONE(NAME, DEVICE, HOST)                                                                    \
    struct NAME {                                                                                  \
        static __device__ float device(float x) { return DEVICE(x); }                              \
        static float host(float x) { return static_cast<float>(HOST(static_cast<Wide>(x))); }         \
    }
#define TWO(NAME, DEVICE, HOST)                                                                    \
    struct NAME {                                                                                  \
        static __device__ float device(Pair x) { return DEVICE(x.a, x.b); }                       \
        static float host(Pair x) {                                                                \
            return static_cast<float>(HOST(static_cast<Wide>(x.a), static_cast<Wide>(x.b)));        \
        }                                                                                          \
    }

ONE(Sin, sinf, std::sin);
ONE(Cos, cosf, std::cos);
ONE(Tan, tanf, std::tan);
ONE(Asin, asinf, std::asin);
ONE(Acos, acosf, std::acos);
ONE(Atan, atanf, std::atan);
ONE(Sinh, sinhf, std::sinh);
ONE(Cosh, coshf, std::cosh);
ONE(Tanh, tanhf, std::tanh);
ONE(Asinh, asinhf, std::asinh);
ONE(Acosh, acoshf, std::acosh);
ONE(Atanh, atanhf, std::atanh);
ONE(Exp, expf, std::exp);
ONE(Exp2, exp2f, std::exp2);
ONE(Expm1, expm1f, std::expm1);
ONE(Log, logf, std::log);
ONE(Log2, log2f, std::log2);
ONE(Log10, log10f, std::log10);
ONE(Log1p, log1pf, std::log1p);
ONE(Sqrt, sqrtf, std::sqrt);
ONE(Cbrt, cbrtf, std::cbrt);
ONE(Erf, erff, std::erf);
ONE(Erfc, erfcf, std::erfc);
ONE(Tgamma, tgammaf, std::tgamma);
ONE(Lgamma, lgammaf, std::lgamma);
ONE(Floor, floorf, std::floor);
ONE(Ceil, ceilf, std::ceil);
ONE(Trunc, truncf, std::trunc);
ONE(Rint, rintf, std::nearbyint);
ONE(Round, roundf, std::round);
TWO(Pow, powf, std::pow);
TWO(Atan2, atan2f, std::atan2);
TWO(Hypot, hypotf, std::hypot);
TWO(Fmod, fmodf, std::fmod);
TWO(Remainder, remainderf, std::remainder);
TWO(Fdim, fdimf, std::fdim);
TWO(Copysign, copysignf, std::copysign);

// Numbers between `least` and `largest`, and as many whose exponents are evenly spread.
std::vector<float> numbers(Random &random, float least, float largest, std::vector<float> all = {}) {
    for (int i = 0; i < 1000; ++i) {
        const float part = static_cast<float>(random() * 0x1p-32);
        all.push_back(least + part * (largest - least));
        const float scaled = std::ldexp(part, -static_cast<int>(random() % 20)) * largest;
        all.push_back(least < 0 && i % 2 ? -scaled : std::fmax(least, scaled));
    }
    return all;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Measures the error of the functions of float.");
    Random random;
    const std::vector<float> special = {0, -float(0), 1, -1, INFINITY, -INFINITY, NAN, float(0.5), 2};
    const auto angles = numbers(random, -10000, 10000, special);
    const auto units = numbers(random, -1, 1, special);
    const auto all = numbers(random, -1e6, 1e6, special);
    const auto exponents = numbers(random, -80, 80, special);
    const auto positive = numbers(random, 0, 1e30, special);
    const auto small = numbers(random, -5, 5, special);
    const auto gamma = numbers(random, float(0.01), 30, special);
    std::vector<Pair> pairs, powers;
    for (const float a : special) {
        for (const float b : special) {
            pairs.push_back({a, b});
            powers.push_back({a, b});
        }
    }
    for (size_t i = 0; i + 1 < all.size(); i += 2) {
        pairs.push_back({all[i], units[i]});
        powers.push_back({std::fabs(small[i]), exponents[i + 1] / 4});
    }
    bool right = true;
    right &= within<Sin>("sinf", 2, angles);
    right &= within<Cos>("cosf", 2, angles);
    right &= within<Tan>("tanf", 4, angles);
    right &= within<Asin>("asinf", 2, units);
    right &= within<Acos>("acosf", 2, units);
    right &= within<Atan>("atanf", 2, all);
    right &= within<Sinh>("sinhf", 3, exponents);
    right &= within<Cosh>("coshf", 2, exponents);
    right &= within<Tanh>("tanhf", 2, all);
    right &= within<Asinh>("asinhf", 3, all);
    right &= within<Acosh>("acoshf", 4, positive);
    right &= within<Atanh>("atanhf", 3, units);
    right &= within<Exp>("expf", 2, exponents);
    right &= within<Exp2>("exp2f", 2, exponents);
    right &= within<Expm1>("expm1f", 1, exponents);
    right &= within<Log>("logf", 1, positive);
    right &= within<Log2>("log2f", 1, positive);
    right &= within<Log10>("log10f", 2, positive);
    right &= within<Log1p>("log1pf", 1, positive);
    right &= within<Sqrt>("sqrtf", 0, positive);
    right &= within<Cbrt>("cbrtf", 1, all);
    right &= within<Erf>("erff", 2, small);
    right &= within<Erfc>("erfcf", 4, small);
    right &= within<Tgamma>("tgammaf", 5, gamma);
    right &= within<Lgamma>("lgammaf", 6, gamma);
    right &= within<Floor>("floorf", 0, all);
    right &= within<Ceil>("ceilf", 0, all);
    right &= within<Trunc>("truncf", 0, all);
    right &= within<Rint>("rintf", 0, all);
    right &= within<Round>("roundf", 0, all);
    right &= within<Pow>("powf", 4, powers);
    right &= within<Atan2>("atan2f", 3, pairs);
    right &= within<Hypot>("hypotf", 3, pairs);
    right &= within<Fmod>("fmodf", 0, pairs);
    right &= within<Remainder>("remainderf", 0, pairs);
    right &= within<Fdim>("fdimf", 0, pairs);
    right &= within<Copysign>("copysignf", 0, pairs);
    return report("math_functions", right);
}
