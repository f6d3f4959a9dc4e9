// SPDX-License-Identifier: Apache-2.0
// nvcc: -arch=sm_80
//
// Half precision: __half, __half2, __nv_bfloat16 and __nv_bfloat162. Sums, products and quotients
// are rounded once from the exact value; the CPU has that in double precision and rounds it itself.

#include "elementwise.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// Bits of one number, or of two.
struct Bits {
    unsigned short a, b, c;
};

// A format of 16 bits: how many of them are fraction, and the least exponent.
template <int FRACTION, int LEAST> struct Format {
    static double value(unsigned short bits) {
        const int fraction = bits & ((1 << FRACTION) - 1);
        const int exponent = (bits & 0x7fff) >> FRACTION;
        const bool top = exponent == (0x7fff >> FRACTION);
        double magnitude = top ? (fraction ? NAN : INFINITY)
                               : std::ldexp(fraction + (exponent ? 1 << FRACTION : 0),
                                            LEAST - FRACTION + (exponent ? exponent - 1 : 0));
        return bits & 0x8000 ? -magnitude : magnitude;
    }
    // To nearest even.
    static unsigned short rounded(double value) {
        if (std::isnan(value)) {
            return 0x7fff;
        }
        const unsigned short sign = std::signbit(value) ? 0x8000 : 0;
        const unsigned short infinity = 0x7fff >> FRACTION << FRACTION;
        unsigned short low = 0, high = infinity;
        while (high - low > 1) {
            const unsigned short middle = low + (high - low) / 2;
            (Format::value(middle) <= std::fabs(value) ? low : high) = middle;
        }
        if (std::fabs(value) == INFINITY) {
            return sign | infinity;
        }
        // The next number above the largest would have been there if the exponent went on.
        const double above = high == infinity ? 2 * Format::value(low) - Format::value(low - 1)
                                              : Format::value(high);
        const double below = std::fabs(value) - Format::value(low), rest = above - std::fabs(value);
        return sign | (below > rest || (below == rest && low & 1) ? high : low);
    }
};
using Half = Format<10, -14>;
using Brain = Format<7, -126>;

#define BOTH(NAME, EXPRESSION, VALUE)                                                              \
    struct NAME##Half {                                                                            \
        static __device__ unsigned short device(Bits x) {                                          \
            const __half a = __ushort_as_half(x.a), b = __ushort_as_half(x.b),                     \
                         c = __ushort_as_half(x.c);                                                \
            (void)b, (void)c;                                                                      \
            return canonical(__half_as_ushort(EXPRESSION), 0x7c00);                                \
        }                                                                                          \
        static unsigned short host(Bits x) { return compute<Half>(x); }                            \
        COMPUTE(VALUE)                                                                             \
    };                                                                                             \
    struct NAME##Brain {                                                                           \
        static __device__ unsigned short device(Bits x) {                                          \
            const __nv_bfloat16 a = __ushort_as_bfloat16(x.a), b = __ushort_as_bfloat16(x.b),      \
                                c = __ushort_as_bfloat16(x.c);                                     \
            (void)b, (void)c;                                                                      \
            return canonical(__bfloat16_as_ushort(EXPRESSION), 0x7f80);                            \
        }                                                                                          \
        static unsigned short host(Bits x) { return compute<Brain>(x); }                           \
        COMPUTE(VALUE)                                                                             \
    }
#define COMPUTE(VALUE)                                                                             \
    template <typename F> static unsigned short compute(Bits x) {                                  \
        const double a = F::value(x.a), b = F::value(x.b), c = F::value(x.c);                      \
        (void)b, (void)c;                                                                          \
        return F::rounded(VALUE);                                                                  \
    }

// One NaN for all.
__device__ unsigned short canonical(unsigned short bits, unsigned short infinity) {
    return (bits & 0x7fff) > infinity ? 0x7fff : bits;
}

// Of two zeros -0 is the smaller one.
double least(double a, double b) {
    return std::isnan(a) ? b : std::isnan(b) ? a : a == b ? (std::signbit(a) ? a : b) : a < b ? a : b;
}
double largest(double a, double b) { return -least(-a, -b); }
// Adding the two last is exact enough: what is lost is told by the sign of the error.
double fused(double a, double b, double c) {
    const double product = a * b, sum = product + c;
    if (!std::isfinite(sum)) {
        return sum;
    }
    const double rest = sum - product, error = (product - (sum - rest)) + (c - rest);
    // Rounding to odd keeps the second rounding right.
    long long bits;
    std::memcpy(&bits, &sum, sizeof bits);
    if (error != 0 && !(bits & 1)) {
        return std::nextafter(sum, error > 0 ? INFINITY : -INFINITY);
    }
    return sum;
}

BOTH(Sum, __hadd(a, b), fused(a, 1, b));
BOTH(Difference, __hsub(a, b), fused(a, 1, -b));
BOTH(Product, __hmul(a, b), a *b);
BOTH(Fused, __hfma(a, b, c), fused(a, b, c));
BOTH(FusedPositive, __hfma_relu(a, b, c), std::isnan(fused(a, b, c)) ? NAN
     : fused(a, b, c) > 0 ? fused(a, b, c) : 0.0);
BOTH(Negative, __hneg(a), -a);
BOTH(Absolute, __habs(a), std::fabs(a));
BOTH(Least, __hmin(a, b), least(a, b));
BOTH(Largest, __hmax(a, b), largest(a, b));
BOTH(LeastOrNan, __hmin_nan(a, b), std::isnan(a + b) && (std::isnan(a) || std::isnan(b)) ? NAN
     : least(a, b));
BOTH(Floor, hfloor(a), std::floor(a));
BOTH(Ceiling, hceil(a), std::ceil(a));
BOTH(Truncated, htrunc(a), std::trunc(a));
BOTH(Integral, hrint(a), std::nearbyint(a));

// Comparisons of pairs give a mask for each half.
struct Masks {
    static __device__ unsigned device(Bits x) {
        const __half2 a = __halves2half2(__ushort_as_half(x.a), __ushort_as_half(x.b));
        const __half2 b = __halves2half2(__ushort_as_half(x.b), __ushort_as_half(x.c));
        return __hlt2_mask(a, b) ^ (__hgeu2_mask(a, b) & 0x0ff00ff0);
    }
    static unsigned host(Bits x) {
        const double a[] = {Half::value(x.a), Half::value(x.b)};
        const double b[] = {Half::value(x.b), Half::value(x.c)};
        unsigned result = 0;
        for (int i = 0; i < 2; ++i) {
            result |= (a[i] < b[i] ? 0xffffu : 0x0ff0u) << 16 * i;
        }
        return result;
    }
};

// A float to both formats and back, packed.
struct Packed {
    static __device__ unsigned device(Bits x) {
        const float f = __uint_as_float(static_cast<unsigned>(x.a) << 16 | x.b);
        const __half2 pair = __floats2half2_rn(f, -f);
        const unsigned short high = __half_as_ushort(__high2half(pair));
        return static_cast<unsigned>(canonical(__bfloat16_as_ushort(__float2bfloat16_rn(f)), 0x7f80)) << 16 |
               canonical(high, 0x7c00);
    }
    static unsigned host(Bits x) {
        const unsigned bits = static_cast<unsigned>(x.a) << 16 | x.b;
        float f;
        std::memcpy(&f, &bits, sizeof f);
        return static_cast<unsigned>(Brain::rounded(f)) << 16 | Half::rounded(-f);
    }
};

template <typename InHalf, typename InBrain> bool both(const char *name, const std::vector<Bits> &in) {
    std::printf("%s\n", name);
    return compare<InHalf>("  half", in) & compare<InBrain>("  bfloat16", in);
}
#define COMPARE(NAME, TEXT) right &= both<NAME##Half, NAME##Brain>(TEXT, in)

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Compares half precision and bfloat16 with exact arithmetic.");
    Random random;
    std::vector<Bits> in;
    const unsigned short edges[] = {0,      0x8000, 0x3c00, 0xbc00, 0x3f80, 0xbf80, 0x7c00, 0xfc00,
                                    0x7f80, 0xff80, 0x7e00, 0x7fc0, 1,      0x8001, 0x0400, 0x7bff,
                                    0x7f7f, 0xfbff, 0x3555, 0x4248};
    for (const unsigned short a : edges) {
        for (const unsigned short b : edges) {
            in.push_back({a, b, edges[random() % 20]});
        }
    }
    for (int i = 0; i < 3000; ++i) {
        const auto bits = [&] { return static_cast<unsigned short>(random()); };
        const auto near = [&] { return static_cast<unsigned short>(0x3800 + random() % 0x1000); };
        in.push_back(i % 2 ? Bits{bits(), bits(), bits()} : Bits{near(), near(), near()});
    }
    bool right = true;
    COMPARE(Sum, "a + b");
    COMPARE(Difference, "a - b");
    COMPARE(Product, "a * b");
    COMPARE(Fused, "a * b + c");
    COMPARE(FusedPositive, "a * b + c, at least 0");
    COMPARE(Negative, "-a");
    COMPARE(Absolute, "|a|");
    COMPARE(Least, "smaller of a and b");
    COMPARE(Largest, "larger of a and b");
    COMPARE(LeastOrNan, "smaller, or NaN");
    COMPARE(Floor, "rounded down");
    COMPARE(Ceiling, "rounded up");
    COMPARE(Truncated, "rounded toward zero");
    COMPARE(Integral, "rounded to nearest even");
    right &= compare<Masks>("masks of pairs", in);
    right &= compare<Packed>("float to both", in);
    return report("half_precision", right);
}
