// SPDX-License-Identifier: Apache-2.0
//
// Numbers of eight bits: every one of them as a float, and floats rounded to them. The CPU decodes
// them bit by bit, and rounds by looking for the nearest one.

#include "elementwise.h"

#include <cuda_fp8.h>

// FRACTION bits of fraction, the least exponent, the largest finite number, and whether there
// are infinities.
template <int FRACTION, int LEAST, int LARGEST, bool INFINITE> struct Format {
    static float value(int bits) {
        const int fraction = bits & ((1 << FRACTION) - 1), exponent = (bits & 0x7f) >> FRACTION;
        float magnitude = std::ldexp(static_cast<float>(fraction + (exponent ? 1 << FRACTION : 0)),
                                     LEAST - FRACTION + (exponent ? exponent - 1 : 0));
        if ((bits & 0x7f) > LARGEST) {
            magnitude = INFINITE && fraction == 0 ? INFINITY : NAN;
        }
        return bits & 0x80 ? -magnitude : magnitude;
    }
    // To nearest even; what is too large becomes the largest one.
    static unsigned char rounded(double value) {
        if (std::isnan(value)) {
            return 0x7f;
        }
        const double magnitude = std::fabs(value);
        int best = 0;
        for (int bits = 1; bits <= LARGEST; ++bits) {
            const double old = std::fabs(magnitude - Format::value(best));
            const double now = std::fabs(magnitude - Format::value(bits));
            if (now < old || (now == old && bits % 2 == 0)) {
                best = bits;
            }
        }
        if (magnitude > Format::value(LARGEST)) {
            best = LARGEST;
        }
        return static_cast<unsigned char>(best | (std::signbit(value) ? 0x80 : 0));
    }
};
using E4m3 = Format<3, -6, 0x7e, false>;
using E5m2 = Format<2, -14, 0x7b, true>;

#define CONVERSIONS(FORMAT, TYPE, INTERPRETATION)                                                  \
    struct FORMAT##ToFloat {                                                                       \
        static __device__ float device(unsigned char bits) {                                       \
            TYPE number;                                                                           \
            number.__x = bits;                                                                     \
            return static_cast<float>(number);                                                     \
        }                                                                                          \
        static float host(unsigned char bits) { return FORMAT::value(bits); }                      \
    };                                                                                             \
    struct FORMAT##FromFloat {                                                                     \
        static __device__ unsigned char device(float value) { return TYPE(value).__x; }            \
        static unsigned char host(float value) { return FORMAT::rounded(value); }                  \
    };                                                                                             \
    struct FORMAT##FromPair {                                                                      \
        static __device__ unsigned short device(float value) {                                     \
            return __nv_cvt_float2_to_fp8x2(make_float2(value, -2 * value), __NV_SATFINITE,        \
                                            INTERPRETATION);                                       \
        }                                                                                          \
        static unsigned short host(float value) {                                                  \
            const unsigned high = FORMAT::rounded(-2 * static_cast<double>(value));                \
            return static_cast<unsigned short>(FORMAT::rounded(value) | high << 8);                \
        }                                                                                          \
    }
CONVERSIONS(E4m3, __nv_fp8_e4m3, __NV_E4M3);
CONVERSIONS(E5m2, __nv_fp8_e5m2, __NV_E5M2);

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Converts between floats and numbers of eight bits.");
    std::vector<unsigned char> bytes;
    std::vector<float> floats = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 448.0f, 464.0f, 465.0f,
                                 57344.0f, 61439.0f, 61440.0f, 1e30f, -1e-30f};
    for (int bits = 0; bits < 256; ++bits) {
        bytes.push_back(static_cast<unsigned char>(bits));
        // The numbers themselves, the middles between them, and what is just beside those.
        for (const float value : {E4m3::value(bits), E5m2::value(bits)}) {
            floats.push_back(value);
            floats.push_back(value * 1.0625f);
            floats.push_back(value * 1.0625f * 1.0000002f);
            floats.push_back(value * 1.125f);
            floats.push_back(value * 0.9999999f);
        }
    }
    bool right = compare<E4m3ToFloat>("e4m3 to float", bytes);
    right &= compare<E4m3FromFloat>("float to e4m3", floats);
    right &= compare<E4m3FromPair>("two floats to e4m3", floats);
    right &= compare<E5m2ToFloat>("e5m2 to float", bytes);
    right &= compare<E5m2FromFloat>("float to e5m2", floats);
    right &= compare<E5m2FromPair>("two floats to e5m2", floats);
    return report("fp8_conversions", right);
}
