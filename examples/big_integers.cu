// SPDX-License-Identifier: Apache-2.0
//
// Integers wider than any register: 128 bits as the compiler offers them, and 256 bits by the
// carry chains of PTX in inline assembly. The CPU multiplies digit by digit.

#include "elementwise.h"

using u32 = unsigned;
using u64 = unsigned long long;
using u128 = unsigned __int128;
using s128 = __int128;

struct Pair128 {
    u128 a, b;
};
struct Wide {
    u32 word[8];
};
struct Wider {
    u32 word[16];
};
struct Pair256 {
    Wide a, b;
};

// Multiplication, division and shifts of 128 bits; the CPU knows the same type.
#define OPERATION128(NAME, EXPRESSION)                                                             \
    struct NAME {                                                                                  \
        static __host__ __device__ u128 compute(u128 a, u128 b) { return EXPRESSION; }             \
        static __device__ u128 device(Pair128 x) { return compute(x.a, x.b); }                     \
        static u128 host(Pair128 x) { return compute(x.a, x.b); }                                  \
    }
OPERATION128(Sum, a + b);
OPERATION128(Difference, a - b);
OPERATION128(Product, a *b);
OPERATION128(Quotient, a / (b | 1));
OPERATION128(Remainder, a % (b | 1));
OPERATION128(SignedQuotient, static_cast<u128>(static_cast<s128>(a) / static_cast<s128>(b >> 70 | 1)));
OPERATION128(ShiftLeft, a << (static_cast<u32>(b) & 127));
OPERATION128(ShiftRight, static_cast<u128>(static_cast<s128>(a) >> (static_cast<u32>(b) & 127)));

struct Sum256 {
    static __device__ Wide device(Pair256 x) {
        Wide r;
        asm("add.cc.u32 %0, %8, %16;\n\t"
            "addc.cc.u32 %1, %9, %17;\n\t"
            "addc.cc.u32 %2, %10, %18;\n\t"
            "addc.cc.u32 %3, %11, %19;\n\t"
            "addc.cc.u32 %4, %12, %20;\n\t"
            "addc.cc.u32 %5, %13, %21;\n\t"
            "addc.cc.u32 %6, %14, %22;\n\t"
            "addc.u32 %7, %15, %23;"
            : "=r"(r.word[0]), "=r"(r.word[1]), "=r"(r.word[2]), "=r"(r.word[3]), "=r"(r.word[4]),
              "=r"(r.word[5]), "=r"(r.word[6]), "=r"(r.word[7])
            : "r"(x.a.word[0]), "r"(x.a.word[1]), "r"(x.a.word[2]), "r"(x.a.word[3]),
              "r"(x.a.word[4]), "r"(x.a.word[5]), "r"(x.a.word[6]), "r"(x.a.word[7]),
              "r"(x.b.word[0]), "r"(x.b.word[1]), "r"(x.b.word[2]), "r"(x.b.word[3]),
              "r"(x.b.word[4]), "r"(x.b.word[5]), "r"(x.b.word[6]), "r"(x.b.word[7]));
        return r;
    }
    static Wide host(Pair256 x) {
        Wide r;
        u64 carry = 0;
        for (int i = 0; i < 8; ++i) {
            carry += static_cast<u64>(x.a.word[i]) + x.b.word[i];
            r.word[i] = static_cast<u32>(carry);
            carry >>= 32;
        }
        return r;
    }
};

struct Difference128 {
    static __device__ u128 device(Pair128 x) {
        u64 low, high;
        asm("sub.cc.u64 %0, %2, %4;\n\tsubc.u64 %1, %3, %5;"
            : "=l"(low), "=l"(high)
            : "l"(static_cast<u64>(x.a)), "l"(static_cast<u64>(x.a >> 64)),
              "l"(static_cast<u64>(x.b)), "l"(static_cast<u64>(x.b >> 64)));
        return static_cast<u128>(high) << 64 | low;
    }
    static u128 host(Pair128 x) { return x.a - x.b; }
};

struct Product256 {
    static __device__ Wider device(Pair256 x) {
        Wider r = {};
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            u32 carry = 0;
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                // word + a × b + carry has 64 bits.
                u32 low, high;
                asm("mad.lo.cc.u32 %0, %2, %3, %4;\n\t"
                    "madc.hi.u32 %1, %2, %3, 0;\n\t"
                    "add.cc.u32 %0, %0, %5;\n\t"
                    "addc.u32 %1, %1, 0;"
                    : "=&r"(low), "=&r"(high)
                    : "r"(x.a.word[i]), "r"(x.b.word[j]), "r"(r.word[i + j]), "r"(carry));
                r.word[i + j] = low;
                carry = high;
            }
            r.word[i + 8] = carry;
        }
        return r;
    }
    static Wider host(Pair256 x) {
        Wider r = {};
        for (int i = 0; i < 8; ++i) {
            u64 carry = 0;
            for (int j = 0; j < 8; ++j) {
                carry += static_cast<u64>(x.a.word[i]) * x.b.word[j] + r.word[i + j];
                r.word[i + j] = static_cast<u32>(carry);
                carry >>= 32;
            }
            r.word[i + 8] = static_cast<u32>(carry);
        }
        return r;
    }
};

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Computes with integers of 128 and 256 bits.");
    Random random;
    const auto word = [&] {
        const u32 kind = random() % 8;
        return kind == 0 ? 0u : kind == 1 ? 0xffffffffu : random();
    };
    const auto wide = [&] {
        u128 value = 0;
        for (int i = 0; i < 4; ++i) {
            value = value << 32 | word();
        }
        return value >> random() % 120;
    };
    std::vector<Pair128> pairs;
    std::vector<Pair256> wider;
    for (int i = 0; i < 1000; ++i) {
        pairs.push_back({wide(), wide()});
        Pair256 pair;
        for (int j = 0; j < 8; ++j) {
            pair.a.word[j] = word();
            pair.b.word[j] = word();
        }
        wider.push_back(pair);
    }
    bool right = compare<Sum>("128-bit sum", pairs);
    right &= compare<Difference>("128-bit difference", pairs);
    right &= compare<Difference128>("128-bit sub.cc, subc", pairs);
    right &= compare<Product>("128-bit product", pairs);
    right &= compare<Quotient>("128-bit quotient", pairs);
    right &= compare<Remainder>("128-bit remainder", pairs);
    right &= compare<SignedQuotient>("128-bit signed quotient", pairs);
    right &= compare<ShiftLeft>("128-bit shift left", pairs);
    right &= compare<ShiftRight>("128-bit shift right", pairs);
    right &= compare<Sum256>("256-bit sum", wider);
    right &= compare<Product256>("256-bit product", wider);
    return report("big_integers", right);
}
