// SPDX-License-Identifier: Apache-2.0
// nvcc: -Xcompiler -frounding-math
//
// Arithmetic in the four rounding modes of IEEE 754, in single and double precision: every result
// must have the same bits as the CPU's, which changes its own rounding mode to compare.

#include "elementwise.h"

#include <cfenv>

template <typename T> struct Three {
    T a, b, c;
};

template <int MODE> struct Rounded {
    explicit Rounded() : before(std::fegetround()) {
        const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_UPWARD, FE_DOWNWARD};
        std::fesetround(modes[MODE]);
    }
    ~Rounded() { std::fesetround(before); }
    int before;
};

// volatile keeps the compiler from computing in its own rounding mode.
#define HOST_OPERATION(T, EXPRESSION)                                                              \
    static T host(Three<T> x) {                                                                    \
        volatile T a = x.a, b = x.b, c = x.c;                                                      \
        (void)b, (void)c;                                                                          \
        const Rounded<MODE> rounded;                                                               \
        volatile T result = EXPRESSION;                                                            \
        return result;                                                                             \
    }

#define OPERATION(NAME, T, RN, RZ, RU, RD, EXPRESSION)                                             \
    template <int MODE> struct NAME {                                                              \
        static __device__ T device(Three<T> x) {                                                   \
            if constexpr (MODE == 0) return RN;                                                    \
            if constexpr (MODE == 1) return RZ;                                                    \
            if constexpr (MODE == 2) return RU;                                                    \
            return RD;                                                                             \
        }                                                                                          \
        HOST_OPERATION(T, EXPRESSION)                                                              \
    }
#define BINARY(NAME, T, PREFIX, EXPRESSION)                                                        \
    OPERATION(NAME, T, PREFIX##_rn(x.a, x.b), PREFIX##_rz(x.a, x.b), PREFIX##_ru(x.a, x.b),        \
              PREFIX##_rd(x.a, x.b), EXPRESSION)
#define UNARY(NAME, T, PREFIX, EXPRESSION)                                                         \
    OPERATION(NAME, T, PREFIX##_rn(x.a), PREFIX##_rz(x.a), PREFIX##_ru(x.a), PREFIX##_rd(x.a),     \
              EXPRESSION)

BINARY(AddFloat, float, __fadd, a + b);
BINARY(SubtractFloat, float, __fsub, a - b);
BINARY(MultiplyFloat, float, __fmul, a *b);
BINARY(DivideFloat, float, __fdiv, a / b);
UNARY(ReciprocalFloat, float, __frcp, 1.0f / a);
UNARY(RootFloat, float, __fsqrt, std::sqrt(a));
OPERATION(FusedFloat, float, __fmaf_rn(x.a, x.b, x.c), __fmaf_rz(x.a, x.b, x.c),
          __fmaf_ru(x.a, x.b, x.c), __fmaf_rd(x.a, x.b, x.c), std::fma(a, b, c));
BINARY(AddDouble, double, __dadd, a + b);
BINARY(SubtractDouble, double, __dsub, a - b);
BINARY(MultiplyDouble, double, __dmul, a *b);
BINARY(DivideDouble, double, __ddiv, a / b);
UNARY(ReciprocalDouble, double, __drcp, 1.0 / a);
UNARY(RootDouble, double, __dsqrt, std::sqrt(a));
OPERATION(FusedDouble, double, __fma_rn(x.a, x.b, x.c), __fma_rz(x.a, x.b, x.c),
          __fma_ru(x.a, x.b, x.c), __fma_rd(x.a, x.b, x.c), std::fma(a, b, c));

template <template <int> class Operation, typename In>
bool all_modes(const char *name, const std::vector<In> &in) {
    std::printf("%s\n", name);
    bool right = compare<Operation<0>>("  to nearest even", in);
    right &= compare<Operation<1>>("  toward zero", in);
    right &= compare<Operation<2>>("  up", in);
    return compare<Operation<3>>("  down", in) & right;
}

template <typename T, typename Bits> std::vector<Three<T>> inputs(Random &random) {
    std::vector<T> numbers = {T(0), -T(0), T(1), T(-1.5), T(0.1), T(3), T(INFINITY), -T(INFINITY),
                              T(NAN), std::numeric_limits<T>::max(), std::numeric_limits<T>::min(),
                              std::numeric_limits<T>::denorm_min(),
                              -3 * std::numeric_limits<T>::denorm_min()};
    for (int i = 0; i < 24; ++i) {
        const Bits bits = static_cast<Bits>(random.wide());
        T number;
        std::memcpy(&number, &bits, sizeof number);
        numbers.push_back(number);
        numbers.push_back(static_cast<T>(random()) / T(7e8));
    }
    std::vector<Three<T>> all;
    for (const T a : numbers) {
        for (const T b : numbers) {
            all.push_back({a, b, numbers[random() % numbers.size()]});
        }
    }
    return all;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Compares rounding in all modes with the CPU's, bit by bit.");
    Random random;
    const auto floats = inputs<float, unsigned>(random);
    const auto doubles = inputs<double, unsigned long long>(random);
    bool right = all_modes<AddFloat>("float a + b", floats);
    right &= all_modes<SubtractFloat>("float a - b", floats);
    right &= all_modes<MultiplyFloat>("float a * b", floats);
    right &= all_modes<DivideFloat>("float a / b", floats);
    right &= all_modes<ReciprocalFloat>("float 1 / a", floats);
    right &= all_modes<RootFloat>("float root of a", floats);
    right &= all_modes<FusedFloat>("float a * b + c", floats);
    right &= all_modes<AddDouble>("double a + b", doubles);
    right &= all_modes<SubtractDouble>("double a - b", doubles);
    right &= all_modes<MultiplyDouble>("double a * b", doubles);
    right &= all_modes<DivideDouble>("double a / b", doubles);
    right &= all_modes<ReciprocalDouble>("double 1 / a", doubles);
    right &= all_modes<RootDouble>("double root of a", doubles);
    right &= all_modes<FusedDouble>("double a * b + c", doubles);
    return report("rounding_modes", right);
}
