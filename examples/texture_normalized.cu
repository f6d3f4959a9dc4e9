// SPDX-License-Identifier: Apache-2.0
//
// Integer texels read as fractions: 0 to 1 for unsigned ones, -1 to 1 for signed ones; and the same
// texels read as they are. Only fractions can be filtered.

#include "texture.h"

#include <cmath>
#include <vector>

template <typename T> struct Traits;
template <> struct Traits<uchar4> {
    using Channel = unsigned char;
    using Fraction = float4;
    static constexpr int CHANNELS = 4;
    static constexpr float LARGEST = 255;
};
template <> struct Traits<char4> {
    using Channel = signed char;
    using Fraction = float4;
    static constexpr int CHANNELS = 4;
    static constexpr float LARGEST = 127;
};
template <> struct Traits<ushort2> {
    using Channel = unsigned short;
    using Fraction = float2;
    static constexpr int CHANNELS = 2;
    static constexpr float LARGEST = 65535;
};
template <> struct Traits<short1> {
    using Channel = short;
    using Fraction = float1;
    static constexpr int CHANNELS = 1;
    static constexpr float LARGEST = 32767;
};

// Of each texel: itself, as a fraction, and the mean with its right neighbour.
template <typename T>
__global__ void sample(cudaTextureObject_t plain, cudaTextureObject_t nearest,
                       cudaTextureObject_t linear, T *texels, typename Traits<T>::Fraction *fractions,
                       typename Traits<T>::Fraction *means) {
    const int x = threadIdx.x;
    texels[x] = tex2D<T>(plain, x + 0.5f, 0.5f);
    fractions[x] = tex2D<typename Traits<T>::Fraction>(nearest, x + 0.5f, 0.5f);
    means[x] = tex2D<typename Traits<T>::Fraction>(linear, x + 1.0f, 0.5f);
}

template <typename T> static int mismatches(const char *name) {
    using Channel = typename Traits<T>::Channel;
    using Fraction = typename Traits<T>::Fraction;
    constexpr int CHANNELS = Traits<T>::CHANNELS, WIDTH = 64;
    std::vector<T> image(WIDTH);
    Channel *channels = reinterpret_cast<Channel *>(image.data());
    for (int i = 0; i < WIDTH * CHANNELS; ++i) {
        channels[i] = static_cast<Channel>(i * 40503u >> 3);
    }
    // The least signed number is -1 too.
    channels[0] = static_cast<Channel>(1 << (8 * sizeof(Channel) - 1));
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<T>();
    cudaArray_t array = nullptr;
    CHECK(cudaMallocArray(&array, &format, WIDTH, 1));
    fill_array(array, image.data(), sizeof(T), make_cudaExtent(WIDTH, 1, 0));
    const cudaTextureObject_t plain =
        texture_of(array, texture_description(cudaAddressModeClamp, cudaFilterModePoint,
                                              cudaReadModeElementType, false));
    const cudaTextureObject_t nearest =
        texture_of(array, texture_description(cudaAddressModeClamp, cudaFilterModePoint,
                                              cudaReadModeNormalizedFloat, false));
    const cudaTextureObject_t linear =
        texture_of(array, texture_description(cudaAddressModeClamp, cudaFilterModeLinear,
                                              cudaReadModeNormalizedFloat, false));
    T *texels = nullptr;
    Fraction *fractions = nullptr, *means = nullptr;
    CHECK(cudaMalloc(&texels, WIDTH * sizeof(T)));
    CHECK(cudaMalloc(&fractions, WIDTH * sizeof(Fraction)));
    CHECK(cudaMalloc(&means, WIDTH * sizeof(Fraction)));
    sample<T><<<1, WIDTH>>>(plain, nearest, linear, texels, fractions, means);
    CHECK_LAUNCH();
    std::vector<T> got_texels(WIDTH);
    std::vector<float> got_fractions(WIDTH * CHANNELS), got_means(WIDTH * CHANNELS);
    CHECK(cudaMemcpy(got_texels.data(), texels, WIDTH * sizeof(T), cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(got_fractions.data(), fractions, WIDTH * sizeof(Fraction),
                     cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(got_means.data(), means, WIDTH * sizeof(Fraction), cudaMemcpyDeviceToHost));

    const auto fraction = [&](int i) {
        return std::fmax(channels[i] / Traits<T>::LARGEST, -1.0f);
    };
    int wrong = std::memcmp(got_texels.data(), image.data(), WIDTH * sizeof(T)) != 0;
    for (int i = 0; i < WIDTH * CHANNELS; ++i) {
        const int right = i + CHANNELS < WIDTH * CHANNELS ? i + CHANNELS : i;
        wrong += std::fabs(got_fractions[i] - fraction(i)) > 1e-5f;
        wrong += std::fabs(got_means[i] - (fraction(i) + fraction(right)) / 2) > 2e-3f;
    }
    std::printf("%s: %d wrong\n", name, wrong);
    for (const cudaTextureObject_t texture : {plain, nearest, linear}) {
        CHECK(cudaDestroyTextureObject(texture));
    }
    CHECK(cudaFree(texels));
    CHECK(cudaFree(fractions));
    CHECK(cudaFree(means));
    CHECK(cudaFreeArray(array));
    return wrong;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Reads integer texels as fractions.");
    const int wrong = mismatches<uchar4>("uchar4") + mismatches<char4>("char4") +
                      mismatches<ushort2>("ushort2") + mismatches<short1>("short1");
    return report("texture_normalized", wrong == 0);
}
