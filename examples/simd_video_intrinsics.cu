// SPDX-License-Identifier: Apache-2.0
//
// The SIMD intrinsics on two halves and four bytes of a word, and the video instructions of PTX
// that have no intrinsic. The CPU computes each lane by itself.

#include "elementwise.h"

struct Pair {
    unsigned a, b;
};

// Applies `lane` to every lane of BITS bits.
template <int BITS, typename Lane> unsigned lanes(Pair x, Lane lane) {
    const unsigned mask = BITS == 16 ? 0xffff : 0xff;
    unsigned result = 0;
    for (int at = 0; at < 32; at += BITS) {
        const int a = x.a >> at & mask, b = x.b >> at & mask;
        result |= (static_cast<unsigned>(lane(a, b)) & mask) << at;
    }
    return result;
}

// A lane's value as a signed number.
template <int BITS> int s(int value) { return (value ^ 1 << (BITS - 1)) - (1 << (BITS - 1)); }
template <int BITS> int within(int value) {
    const int least = -(1 << (BITS - 1)), largest = -least - 1;
    return value < least ? least : value > largest ? largest : value;
}
template <int BITS> int within_unsigned(int value) {
    const int largest = (1 << BITS) - 1;
    return value < 0 ? 0 : value > largest ? largest : value;
}

#define LANES(NAME, BITS, INTRINSIC, EXPRESSION)                                                   \
    struct NAME##BITS {                                                                            \
        static __device__ unsigned device(Pair x) { return INTRINSIC; }                            \
        static unsigned host(Pair x) {                                                             \
            constexpr int N = BITS;                                                                \
            (void)N;                                                                               \
            return lanes<BITS>(x, [](int a, int b) -> int {                                        \
                (void)b;                                                                           \
                return EXPRESSION;                                                                 \
            });                                                                                    \
        }                                                                                          \
    }
#define BOTH(NAME, TWO, FOUR, EXPRESSION)                                                          \
    LANES(NAME, 16, TWO, EXPRESSION);                                                              \
    LANES(NAME, 8, FOUR, EXPRESSION)

BOTH(Add, __vadd2(x.a, x.b), __vadd4(x.a, x.b), a + b);
BOTH(AddSigned, __vaddss2(x.a, x.b), __vaddss4(x.a, x.b), within<N>(s<N>(a) + s<N>(b)));
BOTH(AddUnsigned, __vaddus2(x.a, x.b), __vaddus4(x.a, x.b), within_unsigned<N>(a + b));
BOTH(Subtract, __vsub2(x.a, x.b), __vsub4(x.a, x.b), a - b);
BOTH(SubtractSigned, __vsubss2(x.a, x.b), __vsubss4(x.a, x.b), within<N>(s<N>(a) - s<N>(b)));
BOTH(SubtractUnsigned, __vsubus2(x.a, x.b), __vsubus4(x.a, x.b), within_unsigned<N>(a - b));
BOTH(AverageSigned, __vavgs2(x.a, x.b), __vavgs4(x.a, x.b),
     (s<N>(a) + s<N>(b) + (s<N>(a) + s<N>(b) >= 0)) >> 1);
BOTH(AverageUnsigned, __vavgu2(x.a, x.b), __vavgu4(x.a, x.b), (a + b + 1) >> 1);
BOTH(HalfSum, __vhaddu2(x.a, x.b), __vhaddu4(x.a, x.b), (a + b) >> 1);
BOTH(Absolute, __vabs2(x.a), __vabs4(x.a), std::abs(s<N>(a)));
BOTH(AbsoluteSaturated, __vabsss2(x.a), __vabsss4(x.a), within<N>(std::abs(s<N>(a))));
BOTH(Negative, __vneg2(x.a), __vneg4(x.a), -a);
BOTH(NegativeSaturated, __vnegss2(x.a), __vnegss4(x.a), within<N>(-s<N>(a)));
BOTH(DifferenceSigned, __vabsdiffs2(x.a, x.b), __vabsdiffs4(x.a, x.b), std::abs(s<N>(a) - s<N>(b)));
BOTH(DifferenceUnsigned, __vabsdiffu2(x.a, x.b), __vabsdiffu4(x.a, x.b), std::abs(a - b));
BOTH(MinSigned, __vmins2(x.a, x.b), __vmins4(x.a, x.b), s<N>(a) < s<N>(b) ? a : b);
BOTH(MinUnsigned, __vminu2(x.a, x.b), __vminu4(x.a, x.b), a < b ? a : b);
BOTH(MaxSigned, __vmaxs2(x.a, x.b), __vmaxs4(x.a, x.b), s<N>(a) > s<N>(b) ? a : b);
BOTH(MaxUnsigned, __vmaxu2(x.a, x.b), __vmaxu4(x.a, x.b), a > b ? a : b);
BOTH(CompareEqual, __vcmpeq2(x.a, x.b), __vcmpeq4(x.a, x.b), a == b ? -1 : 0);
BOTH(CompareNotEqual, __vcmpne2(x.a, x.b), __vcmpne4(x.a, x.b), a != b ? -1 : 0);
BOTH(CompareGreaterSigned, __vcmpgts2(x.a, x.b), __vcmpgts4(x.a, x.b), s<N>(a) > s<N>(b) ? -1 : 0);
BOTH(CompareGreaterUnsigned, __vcmpgtu2(x.a, x.b), __vcmpgtu4(x.a, x.b), a > b ? -1 : 0);
BOTH(CompareLessSigned, __vcmplts2(x.a, x.b), __vcmplts4(x.a, x.b), s<N>(a) < s<N>(b) ? -1 : 0);
BOTH(CompareAtMostUnsigned, __vcmpleu2(x.a, x.b), __vcmpleu4(x.a, x.b), a <= b ? -1 : 0);
BOTH(SetEqual, __vseteq2(x.a, x.b), __vseteq4(x.a, x.b), a == b);
BOTH(SetAtLeastSigned, __vsetges2(x.a, x.b), __vsetges4(x.a, x.b), s<N>(a) >= s<N>(b));
BOTH(SetLessUnsigned, __vsetltu2(x.a, x.b), __vsetltu4(x.a, x.b), a < b);

// Sums over the lanes.
struct SumOfDifferences {
    static __device__ unsigned device(Pair x) { return __vsadu4(x.a, x.b) + (__vsads2(x.a, x.b) << 16); }
    static unsigned host(Pair x) {
        unsigned bytes = 0, halves = 0;
        lanes<8>(x, [&](int a, int b) { return bytes += std::abs(a - b), 0; });
        lanes<16>(x, [&](int a, int b) { return halves += std::abs(s<16>(a) - s<16>(b)), 0; });
        return bytes + (halves << 16);
    }
};

// The byte 2 of a plus the upper half of b, saturated to a byte that replaces byte 1 of a.
struct Selected {
    static __device__ unsigned device(Pair x) {
        unsigned result;
        asm("vadd.s32.u32.s32.sat %0.b1, %1.b2, %2.h1, %1;" : "=r"(result) : "r"(x.a), "r"(x.b));
        return result;
    }
    static unsigned host(Pair x) {
        const int sum = static_cast<int>(x.a >> 16 & 0xff) + s<16>(x.b >> 16);
        return (x.a & 0xffff00ff) | (within<8>(sum) & 0xff) << 8;
    }
};

// Products of halves with their fraction of 15 bits, as in sound processing.
struct MultiplyAdd {
    static __device__ unsigned device(Pair x) {
        unsigned result;
        asm("vmad.s32.s32.s32.sat.shr15 %0, %1.h1, %2.h0, %2;" : "=r"(result) : "r"(x.a), "r"(x.b));
        return result;
    }
    static unsigned host(Pair x) {
        const long long product = static_cast<long long>(s<16>(x.a >> 16)) * s<16>(x.b & 0xffff);
        return static_cast<unsigned>((product + static_cast<int>(x.b)) >> 15);
    }
};

template <typename Two, typename Four> bool both(const char *name, const std::vector<Pair> &in) {
    std::printf("%s\n", name);
    return compare<Two>("  two halves", in) & compare<Four>("  four bytes", in);
}
#define COMPARE(NAME, TEXT) right &= both<NAME##16, NAME##8>(TEXT, in)

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Compares the SIMD intrinsics with plain arithmetic.");
    Random random;
    std::vector<Pair> in;
    const unsigned edges[] = {0, 0x80008000, 0x7fff7fff, 0x80808080, 0x7f7f7f7f, 0xffffffff, 0x00ff0100};
    for (const unsigned a : edges) {
        for (const unsigned b : edges) {
            in.push_back({a, b});
        }
    }
    for (int i = 0; i < 1000; ++i) {
        const unsigned a = random();
        in.push_back({a, i % 3 ? random() : (random() & 0x00ffff00) | (a & 0xff0000ff)});
    }
    bool right = true;
    COMPARE(Add, "sum");
    COMPARE(AddSigned, "saturated signed sum");
    COMPARE(AddUnsigned, "saturated unsigned sum");
    COMPARE(Subtract, "difference");
    COMPARE(SubtractSigned, "saturated signed difference");
    COMPARE(SubtractUnsigned, "saturated unsigned difference");
    COMPARE(AverageSigned, "rounded signed average");
    COMPARE(AverageUnsigned, "rounded unsigned average");
    COMPARE(HalfSum, "unsigned average");
    COMPARE(Absolute, "absolute value");
    COMPARE(AbsoluteSaturated, "saturated absolute value");
    COMPARE(Negative, "negative");
    COMPARE(NegativeSaturated, "saturated negative");
    COMPARE(DifferenceSigned, "absolute signed difference");
    COMPARE(DifferenceUnsigned, "absolute unsigned difference");
    COMPARE(MinSigned, "signed minimum");
    COMPARE(MinUnsigned, "unsigned minimum");
    COMPARE(MaxSigned, "signed maximum");
    COMPARE(MaxUnsigned, "unsigned maximum");
    COMPARE(CompareEqual, "mask of =");
    COMPARE(CompareNotEqual, "mask of !=");
    COMPARE(CompareGreaterSigned, "mask of signed >");
    COMPARE(CompareGreaterUnsigned, "mask of unsigned >");
    COMPARE(CompareLessSigned, "mask of signed <");
    COMPARE(CompareAtMostUnsigned, "mask of unsigned <=");
    COMPARE(SetEqual, "1 if =");
    COMPARE(SetAtLeastSigned, "1 if signed >=");
    COMPARE(SetLessUnsigned, "1 if unsigned <");
    right &= compare<SumOfDifferences>("sums of differences", in);
    right &= compare<Selected>("vadd of parts", in);
    right &= compare<MultiplyAdd>("vmad of halves", in);
    return report("simd_video_intrinsics", right);
}
