// SPDX-License-Identifier: Apache-2.0
// nvcc: -Xcompiler -frounding-math
//
// Conversions between numbers and integers in all four rounding modes, with values at the ends of
// the integers and beyond: those saturate. The CPU changes its own rounding mode to compare.

#include "elementwise.h"

#include <cfenv>

enum Mode { RN, RZ, RU, RD };

struct Rounded {
    explicit Rounded(Mode mode) : before(std::fegetround()) {
        const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_UPWARD, FE_DOWNWARD};
        std::fesetround(modes[mode]);
    }
    ~Rounded() { std::fesetround(before); }
    int before;
};

// To an integer, held within its type.
template <typename Integer, typename Number> Integer to_integer(Number value, Mode mode) {
    const Rounded rounded(mode);
    volatile double wide = value;
    const double integral = std::nearbyint(wide);
    const double least = static_cast<double>(std::numeric_limits<Integer>::min());
    // The largest one is not always a double; one more is.
    const double end = std::ldexp(1.0, std::numeric_limits<Integer>::digits);
    return integral < least  ? std::numeric_limits<Integer>::min()
           : integral >= end ? std::numeric_limits<Integer>::max()
                             : static_cast<Integer>(integral);
}
template <typename Number, typename Integer> Number from_integer(Integer value, Mode mode) {
    const Rounded rounded(mode);
    volatile Integer integer = value;
    volatile Number number = static_cast<Number>(integer);
    return number;
}
inline float narrowed(double value, Mode mode) {
    const Rounded rounded(mode);
    volatile double wide = value;
    volatile float number = static_cast<float>(wide);
    return number;
}

using u32 = unsigned;
using u64 = unsigned long long;
using s64 = long long;

// The headers have functions of the same names.
namespace conversions {
#define CONVERSION(PREFIX, IN, OUT, HOST)                                                          \
    template <Mode MODE> struct PREFIX {                                                           \
        static __device__ OUT device(IN x) {                                                       \
            if constexpr (MODE == RN) return __##PREFIX##_rn(x);                                   \
            if constexpr (MODE == RZ) return __##PREFIX##_rz(x);                                   \
            if constexpr (MODE == RU) return __##PREFIX##_ru(x);                                   \
            return __##PREFIX##_rd(x);                                                             \
        }                                                                                          \
        static OUT host(IN x) { return HOST(x, MODE); }                                            \
    }

CONVERSION(float2int, float, int, to_integer<int>);
CONVERSION(float2uint, float, u32, to_integer<u32>);
CONVERSION(float2ll, float, s64, to_integer<s64>);
CONVERSION(float2ull, float, u64, to_integer<u64>);
CONVERSION(double2int, double, int, to_integer<int>);
CONVERSION(double2uint, double, u32, to_integer<u32>);
CONVERSION(double2ll, double, s64, to_integer<s64>);
CONVERSION(double2ull, double, u64, to_integer<u64>);
CONVERSION(int2float, int, float, from_integer<float>);
CONVERSION(uint2float, u32, float, from_integer<float>);
CONVERSION(ll2float, s64, float, from_integer<float>);
CONVERSION(ull2float, u64, float, from_integer<float>);
CONVERSION(ll2double, s64, double, from_integer<double>);
CONVERSION(ull2double, u64, double, from_integer<double>);
CONVERSION(double2float, double, float, narrowed);
} // namespace conversions

struct Reinterpreted {
    static __device__ u64 device(u64 x) {
        const double value = __hiloint2double(static_cast<int>(x >> 32), static_cast<int>(x));
        const u64 low = static_cast<u32>(__double2loint(value));
        const u64 high = static_cast<u32>(__float_as_int(__int_as_float(__double2hiint(value))));
        return (high << 32 | low) ^ static_cast<u64>(__double_as_longlong(value));
    }
    static u64 host(u64) { return 0; }
};

template <template <Mode> class Operation, typename In>
bool all_modes(const char *name, const std::vector<In> &in) {
    std::printf("%s\n", name);
    bool right = compare<Operation<RN>>("  to nearest even", in);
    right &= compare<Operation<RZ>>("  toward zero", in);
    right &= compare<Operation<RU>>("  up", in);
    return compare<Operation<RD>>("  down", in) & right;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Converts between numbers and integers in all rounding modes.");
    Random random;
    std::vector<float> floats = {0.0f, -0.0f, 0.5f, -0.5f, 1.5f, 2.5f, -2.5f, INFINITY, -INFINITY};
    std::vector<double> doubles = {0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1e300, -INFINITY, 0.1,
                                   1e-310, 3.4028235677973366e38, 1.401298464324817e-45, 1e-46};
    std::vector<int> ints = {0, 1, -1, 2147483647, -2147483647 - 1, 16777217, -16777219};
    std::vector<u32> unsigneds = {0, 1, 0xffffffff, 0x80000000, 16777217, 0xffffff7f, 0xffffff80};
    std::vector<s64> longs = {0, -1, 9223372036854775807ll, -9223372036854775807ll - 1,
                              9007199254740993ll, -9007199254740995ll};
    std::vector<u64> wides = {0, ~0ull, 1ull << 63, 9007199254740993ull, (1ull << 63) + 1025};
    for (int power = 0; power < 70; ++power) {
        for (const double part : {1.0, 0.9999999, 1.0000001, 1.3, -1.0, -1.0000001, -1.7}) {
            floats.push_back(static_cast<float>(std::ldexp(part, power)));
            doubles.push_back(std::ldexp(part, power));
            doubles.push_back(std::ldexp(part, -2 * power) / 3);
        }
    }
    for (int i = 0; i < 1000; ++i) {
        const u64 bits = random.wide() >> random() % 64;
        ints.push_back(static_cast<int>(bits));
        unsigneds.push_back(static_cast<u32>(bits));
        longs.push_back(i % 2 ? static_cast<s64>(bits) : -static_cast<s64>(bits));
        wides.push_back(bits);
    }
    bool right = all_modes<conversions::float2int>("float to int", floats);
    right &= all_modes<conversions::float2uint>("float to unsigned", floats);
    right &= all_modes<conversions::float2ll>("float to long long", floats);
    right &= all_modes<conversions::float2ull>("float to unsigned long long", floats);
    right &= all_modes<conversions::double2int>("double to int", doubles);
    right &= all_modes<conversions::double2uint>("double to unsigned", doubles);
    right &= all_modes<conversions::double2ll>("double to long long", doubles);
    right &= all_modes<conversions::double2ull>("double to unsigned long long", doubles);
    right &= all_modes<conversions::int2float>("int to float", ints);
    right &= all_modes<conversions::uint2float>("unsigned to float", unsigneds);
    right &= all_modes<conversions::ll2float>("long long to float", longs);
    right &= all_modes<conversions::ull2float>("unsigned long long to float", wides);
    right &= all_modes<conversions::ll2double>("long long to double", longs);
    right &= all_modes<conversions::ull2double>("unsigned long long to double", wides);
    right &= all_modes<conversions::double2float>("double to float", doubles);
    right &= compare<Reinterpreted>("bits taken apart", wides);
    return report("type_conversions", right);
}
