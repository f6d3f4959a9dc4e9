// SPDX-License-Identifier: Apache-2.0
//
// The functions of double, with the error that CUDA's documentation allows each of them.
// The CPU computes them in a wider type and rounds once.

#include "ulp.h"

using Wide = long double;
struct Pair {
    double a, b;
};

#define ONE(NAME, DEVICE, HOST)                                                                    \
    struct NAME {                                                                                  \
        static __device__ double device(double x) { return DEVICE(x); }                              \
        static double host(double x) { return static_cast<double>(HOST(static_cast<Wide>(x))); }         \
    }
#define TWO(NAME, DEVICE, HOST)                                                                    \
    struct NAME {                                                                                  \
        static __device__ double device(Pair x) { return DEVICE(x.a, x.b); }                       \
        static double host(Pair x) {                                                                \
            return static_cast<double>(HOST(static_cast<Wide>(x.a), static_cast<Wide>(x.b)));        \
        }                                                                                          \
    }

ONE(Sin, sin, std::sin);
ONE(Cos, cos, std::cos);
ONE(Tan, tan, std::tan);
ONE(Asin, asin, std::asin);
ONE(Acos, acos, std::acos);
ONE(Atan, atan, std::atan);
ONE(Sinh, sinh, std::sinh);
ONE(Cosh, cosh, std::cosh);
ONE(Tanh, tanh, std::tanh);
ONE(Asinh, asinh, std::asinh);
ONE(Acosh, acosh, std::acosh);
ONE(Atanh, atanh, std::atanh);
ONE(Exp, exp, std::exp);
ONE(Exp2, exp2, std::exp2);
ONE(Expm1, expm1, std::expm1);
ONE(Log, log, std::log);
ONE(Log2, log2, std::log2);
ONE(Log10, log10, std::log10);
ONE(Log1p, log1p, std::log1p);
ONE(Sqrt, sqrt, std::sqrt);
ONE(Cbrt, cbrt, std::cbrt);
ONE(Erf, erf, std::erf);
ONE(Erfc, erfc, std::erfc);
ONE(Tgamma, tgamma, std::tgamma);
ONE(Lgamma, lgamma, std::lgamma);
ONE(Floor, floor, std::floor);
ONE(Ceil, ceil, std::ceil);
ONE(Trunc, trunc, std::trunc);
ONE(Rint, rint, std::nearbyint);
ONE(Round, round, std::round);
TWO(Pow, pow, std::pow);
TWO(Atan2, atan2, std::atan2);
TWO(Hypot, hypot, std::hypot);
TWO(Fmod, fmod, std::fmod);
TWO(Remainder, remainder, std::remainder);
TWO(Fdim, fdim, std::fdim);
TWO(Copysign, copysign, std::copysign);

// Numbers between `least` and `largest`, and as many whose exponents are evenly spread.
std::vector<double> numbers(Random &random, double least, double largest, std::vector<double> all = {}) {
    for (int i = 0; i < 1000; ++i) {
        const double part = static_cast<double>(random() * 0x1p-32);
        all.push_back(least + part * (largest - least));
        const double scaled = std::ldexp(part, -static_cast<int>(random() % 20)) * largest;
        all.push_back(least < 0 && i % 2 ? -scaled : std::fmax(least, scaled));
    }
    return all;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Measures the error of the functions of double.");
    Random random;
    const std::vector<double> special = {0, -double(0), 1, -1, INFINITY, -INFINITY, NAN, double(0.5), 2};
    const auto angles = numbers(random, -10000, 10000, special);
    const auto units = numbers(random, -1, 1, special);
    const auto all = numbers(random, -1e6, 1e6, special);
    const auto exponents = numbers(random, -80, 80, special);
    const auto positive = numbers(random, 0, 1e30, special);
    const auto small = numbers(random, -5, 5, special);
    const auto gamma = numbers(random, double(0.01), 30, special);
    std::vector<Pair> pairs, powers;
    for (const double a : special) {
        for (const double b : special) {
            pairs.push_back({a, b});
            powers.push_back({a, b});
        }
    }
    for (size_t i = 0; i + 1 < all.size(); i += 2) {
        pairs.push_back({all[i], units[i]});
        powers.push_back({std::fabs(small[i]), exponents[i + 1] / 4});
    }
    bool right = true;
    right &= within<Sin>("sin", 2, angles);
    right &= within<Cos>("cos", 2, angles);
    right &= within<Tan>("tan", 2, angles);
    right &= within<Asin>("asin", 2, units);
    right &= within<Acos>("acos", 2, units);
    right &= within<Atan>("atan", 2, all);
    right &= within<Sinh>("sinh", 2, exponents);
    right &= within<Cosh>("cosh", 1, exponents);
    right &= within<Tanh>("tanh", 1, all);
    right &= within<Asinh>("asinh", 3, all);
    right &= within<Acosh>("acosh", 3, positive);
    right &= within<Atanh>("atanh", 2, units);
    right &= within<Exp>("exp", 1, exponents);
    right &= within<Exp2>("exp2", 1, exponents);
    right &= within<Expm1>("expm1", 1, exponents);
    right &= within<Log>("log", 1, positive);
    right &= within<Log2>("log2", 1, positive);
    right &= within<Log10>("log10", 1, positive);
    right &= within<Log1p>("log1p", 1, positive);
    right &= within<Sqrt>("sqrt", 0, positive);
    right &= within<Cbrt>("cbrt", 1, all);
    right &= within<Erf>("erf", 2, small);
    right &= within<Erfc>("erfc", 5, small);
    right &= within<Tgamma>("tgamma", 10, gamma);
    right &= within<Lgamma>("lgamma", 4, gamma);
    right &= within<Floor>("floor", 0, all);
    right &= within<Ceil>("ceil", 0, all);
    right &= within<Trunc>("trunc", 0, all);
    right &= within<Rint>("rint", 0, all);
    right &= within<Round>("round", 0, all);
    right &= within<Pow>("pow", 2, powers);
    right &= within<Atan2>("atan2", 2, pairs);
    right &= within<Hypot>("hypot", 2, pairs);
    right &= within<Fmod>("fmod", 0, pairs);
    right &= within<Remainder>("remainder", 0, pairs);
    right &= within<Fdim>("fdim", 0, pairs);
    right &= within<Copysign>("copysign", 0, pairs);
    return report("double_precision", right);
}
