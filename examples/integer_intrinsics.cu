// SPDX-License-Identifier: Apache-2.0
//
// The integer intrinsics: counting and moving bits, high halves of products, averages, dot
// products of bytes. The CPU computes each one bit by bit or with wider integers.

#include "elementwise.h"

using u32 = unsigned;
using s32 = int;
using u64 = unsigned long long;
using s64 = long long;

struct Words {
    u32 a, b, c;
};

#define OPERATION(NAME, IN, OUT, DEVICE, HOST)                                                     \
    struct NAME {                                                                                  \
        static __device__ OUT device(IN x) { return DEVICE; }                                      \
        static OUT host(IN x) { HOST }                                                             \
    }

OPERATION(Popc, Words, int, __popc(x.a), int n = 0; for (int i = 0; i < 32; ++i) n += x.a >> i & 1;
          return n;);
OPERATION(Clz, Words, int, __clz(x.a), int n = 0; while (n < 32 && !(x.a >> (31 - n) & 1))++ n;
          return n;);
OPERATION(Ffs, Words, int, __ffs(x.a), for (int i = 0; i < 32; ++i) if (x.a >> i & 1) return i + 1;
          return 0;);
OPERATION(Brev, Words, u32, __brev(x.a), u32 r = 0;
          for (int i = 0; i < 32; ++i) r |= (x.a >> i & 1) << (31 - i); return r;);
OPERATION(Popcll, u64, int, __popcll(x), int n = 0; for (int i = 0; i < 64; ++i) n += x >> i & 1;
          return n;);
OPERATION(Clzll, u64, int, __clzll(x), int n = 0; while (n < 64 && !(x >> (63 - n) & 1))++ n;
          return n;);
OPERATION(Ffsll, u64, int, __ffsll(x), for (int i = 0; i < 64; ++i) if (x >> i & 1) return i + 1;
          return 0;);
OPERATION(Brevll, u64, u64, __brevll(x), u64 r = 0;
          for (int i = 0; i < 64; ++i) r |= (x >> i & 1) << (63 - i); return r;);
OPERATION(BytePerm, Words, u32, __byte_perm(x.a, x.b, x.c), const u64 both = u64(x.b) << 32 | x.a;
          u32 r = 0; for (int i = 0; i < 4; ++i) {
              r |= (u32(both >> 8 * (x.c >> 4 * i & 7)) & 255) << 8 * i;
          } return r;);
OPERATION(FunnelLeft, Words, u32, __funnelshift_l(x.a, x.b, x.c),
          return u32((u64(x.b) << 32 | x.a) << (x.c & 31) >> 32););
OPERATION(FunnelLeftClamp, Words, u32, __funnelshift_lc(x.a, x.b, x.c % 64),
          const u32 n = x.c % 64; return n >= 32 ? x.a : u32((u64(x.b) << 32 | x.a) << n >> 32););
OPERATION(FunnelRight, Words, u32, __funnelshift_r(x.a, x.b, x.c),
          return u32((u64(x.b) << 32 | x.a) >> (x.c & 31)););
OPERATION(FunnelRightClamp, Words, u32, __funnelshift_rc(x.a, x.b, x.c % 64),
          const u32 n = x.c % 64; return n >= 32 ? x.b : u32((u64(x.b) << 32 | x.a) >> n););
OPERATION(Mulhi, Words, s32, __mulhi(s32(x.a), s32(x.b)), return s32(s64(s32(x.a)) * s32(x.b) >> 32););
OPERATION(Umulhi, Words, u32, __umulhi(x.a, x.b), return u32(u64(x.a) * x.b >> 32););
OPERATION(Mul64hi, u64, s64, __mul64hi(s64(x), s64(x * 3 + 1)),
          return s64(__int128(s64(x)) * s64(x * 3 + 1) >> 64););
OPERATION(Umul64hi, u64, u64, __umul64hi(x, x * 3 + 1),
          return u64(static_cast<unsigned __int128>(x) * (x * 3 + 1) >> 64););
OPERATION(Mul24, Words, s32, __mul24(s32(x.a), s32(x.b)),
          return s32(s64(s32(x.a << 8) >> 8) * (s32(x.b << 8) >> 8)););
OPERATION(Umul24, Words, u32, __umul24(x.a, x.b),
          return u32(u64(x.a & 0xffffff) * (x.b & 0xffffff)););
OPERATION(Sad, Words, u32, __sad(s32(x.a), s32(x.b), x.c), const s64 d = s64(s32(x.a)) - s32(x.b);
          return u32(d < 0 ? -d : d) + x.c;);
OPERATION(Usad, Words, u32, __usad(x.a, x.b, x.c), return (x.a > x.b ? x.a - x.b : x.b - x.a) + x.c;);
OPERATION(Hadd, Words, s32, __hadd(s32(x.a), s32(x.b)), return s32((s64(s32(x.a)) + s32(x.b)) >> 1););
OPERATION(Rhadd, Words, s32, __rhadd(s32(x.a), s32(x.b)),
          return s32((s64(s32(x.a)) + s32(x.b) + 1) >> 1););
OPERATION(Uhadd, Words, u32, __uhadd(x.a, x.b), return u32((u64(x.a) + x.b) >> 1););
OPERATION(Urhadd, Words, u32, __urhadd(x.a, x.b), return u32((u64(x.a) + x.b + 1) >> 1););
OPERATION(Dp4a, Words, s32, __dp4a(s32(x.a), s32(x.b), s32(x.c)), u32 r = x.c;
          for (int i = 0; i < 4; ++i) r += u32((signed char)(x.a >> 8 * i) * (signed char)(x.b >> 8 * i));
          return s32(r););
OPERATION(Udp4a, Words, u32, __dp4a(x.a, x.b, x.c), u32 r = x.c;
          for (int i = 0; i < 4; ++i) r += (x.a >> 8 * i & 255) * (x.b >> 8 * i & 255); return r;);
OPERATION(Dp2aLow, Words, s32, __dp2a_lo(s32(x.a), s32(x.b), s32(x.c)), u32 r = x.c;
          for (int i = 0; i < 2; ++i) r += u32(short(x.a >> 16 * i) * (signed char)(x.b >> 8 * i));
          return s32(r););
OPERATION(Udp2aHigh, Words, u32, __dp2a_hi(x.a, x.b, x.c), u32 r = x.c;
          for (int i = 0; i < 2; ++i) r += (x.a >> 16 * i & 0xffff) * (x.b >> (16 + 8 * i) & 255);
          return r;);
OPERATION(Divide, Words, s32, s32(x.a) / (s32(x.b >> 1) + 1), return s32(x.a) / (s32(x.b >> 1) + 1););
OPERATION(DivideWide, u64, s64, s64(x) / (s64(x * 7 >> 40) + 1),
          return s64(x) / (s64(x * 7 >> 40) + 1););
OPERATION(RemainderWide, u64, u64, x % ((x * 7 >> 20) + 1), return x % ((x * 7 >> 20) + 1););

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Compares the integer intrinsics with plain arithmetic.");
    Random random;
    std::vector<Words> words;
    std::vector<u64> wide;
    const u32 edges[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x00800000, 0xff7fffff};
    for (const u32 a : edges) {
        for (const u32 b : edges) {
            words.push_back({a, b, random()});
            wide.push_back(u64(a) << 32 | b);
        }
    }
    for (int i = 0; i < 2000; ++i) {
        words.push_back({random(), random(), random()});
        wide.push_back(random.wide() >> random() % 64);
    }
    bool right = true;
    right &= compare<Popc>("__popc", words) & compare<Popcll>("__popcll", wide);
    right &= compare<Clz>("__clz", words) & compare<Clzll>("__clzll", wide);
    right &= compare<Ffs>("__ffs", words) & compare<Ffsll>("__ffsll", wide);
    right &= compare<Brev>("__brev", words) & compare<Brevll>("__brevll", wide);
    right &= compare<BytePerm>("__byte_perm", words);
    right &= compare<FunnelLeft>("__funnelshift_l", words);
    right &= compare<FunnelLeftClamp>("__funnelshift_lc", words);
    right &= compare<FunnelRight>("__funnelshift_r", words);
    right &= compare<FunnelRightClamp>("__funnelshift_rc", words);
    right &= compare<Mulhi>("__mulhi", words) & compare<Umulhi>("__umulhi", words);
    right &= compare<Mul64hi>("__mul64hi", wide) & compare<Umul64hi>("__umul64hi", wide);
    right &= compare<Mul24>("__mul24", words) & compare<Umul24>("__umul24", words);
    right &= compare<Sad>("__sad", words) & compare<Usad>("__usad", words);
    right &= compare<Hadd>("__hadd", words) & compare<Rhadd>("__rhadd", words);
    right &= compare<Uhadd>("__uhadd", words) & compare<Urhadd>("__urhadd", words);
    right &= compare<Dp4a>("__dp4a signed", words) & compare<Udp4a>("__dp4a unsigned", words);
    right &= compare<Dp2aLow>("__dp2a_lo signed", words);
    right &= compare<Udp2aHigh>("__dp2a_hi unsigned", words);
    right &= compare<Divide>("/ of 32 bits", words);
    right &= compare<DivideWide>("/ of 64 bits", wide);
    right &= compare<RemainderWide>("% of 64 bits", wide);
    return report("integer_intrinsics", right);
}
