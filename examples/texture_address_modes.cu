// SPDX-License-Identifier: Apache-2.0
//
// What a texture gives outside of itself: wrapped, clamped, mirrored or the border's colour, at the
// nearest texel and between two.
//
// The width is a power of two and positions are multiples of 1/8 of a texel, so that no rounding
// of coordinates or weights matters.

#include "texture.h"

#include <cmath>
#include <vector>

constexpr int WIDTH = 16;
constexpr int STEPS = 8;
constexpr float BORDER = 0.75f;

__global__ void sample(cudaTextureObject_t texture, float *output, int count, float scale,
                       float first) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        output[i] = tex1D<float>(texture, (i * (1.0f / STEPS) + first) * scale);
    }
}

// The texel that stands for index i, or the border.
static float texel(const std::vector<float> &image, int i, cudaTextureAddressMode mode) {
    switch (mode) {
    case cudaAddressModeWrap:
        return image[((i % WIDTH) + WIDTH) % WIDTH];
    case cudaAddressModeMirror: {
        const int place = ((i % (2 * WIDTH)) + 2 * WIDTH) % (2 * WIDTH);
        return image[place < WIDTH ? place : 2 * WIDTH - 1 - place];
    }
    case cudaAddressModeBorder:
        return i < 0 || i >= WIDTH ? BORDER : image[i];
    default:
        return image[i < 0 ? 0 : (i < WIDTH ? i : WIDTH - 1)];
    }
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Reads outside of textures.");
    std::vector<float> image(WIDTH);
    for (int i = 0; i < WIDTH; ++i) {
        image[i] = static_cast<float>(i * i % 23);
    }
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaArray_t array = nullptr;
    CHECK(cudaMallocArray(&array, &format, WIDTH));
    CHECK(cudaMemcpy2DToArray(array, 0, 0, image.data(), WIDTH * sizeof(float),
                              WIDTH * sizeof(float), 1, cudaMemcpyHostToDevice));
    // Three widths to each side.
    const int first = -3 * WIDTH, count = 7 * WIDTH * STEPS;
    float *output = nullptr;
    CHECK(cudaMalloc(&output, count * sizeof(float)));
    std::vector<float> result(count);

    const struct {
        const char *name;
        cudaTextureAddressMode mode;
        bool normalized;
    } cases[] = {
        {"wrap", cudaAddressModeWrap, true},
        {"mirror", cudaAddressModeMirror, true},
        {"clamp", cudaAddressModeClamp, true},
        {"border", cudaAddressModeBorder, true},
        {"clamp, texels", cudaAddressModeClamp, false},
        {"border, texels", cudaAddressModeBorder, false},
    };
    bool right = true;
    for (const auto &one : cases) {
        for (const bool linear : {false, true}) {
            cudaTextureDesc description = texture_description(
                one.mode, linear ? cudaFilterModeLinear : cudaFilterModePoint,
                cudaReadModeElementType, one.normalized);
            for (float &channel : description.borderColor) {
                channel = BORDER;
            }
            const cudaTextureObject_t texture = texture_of(array, description);
            sample<<<(count + 127) / 128, 128>>>(texture, output, count,
                                                 one.normalized ? 1.0f / WIDTH : 1.0f,
                                                 static_cast<float>(first));
            CHECK_LAUNCH();
            CHECK(cudaMemcpy(result.data(), output, count * sizeof(float),
                             cudaMemcpyDeviceToHost));
            CHECK(cudaDestroyTextureObject(texture));
            int wrong = 0;
            for (int i = 0; i < count; ++i) {
                const float x = static_cast<float>(i) / STEPS + first;
                float want;
                if (linear) {
                    const float left = std::floor(x - 0.5f), alpha = x - 0.5f - left;
                    const int index = static_cast<int>(left);
                    want = (1 - alpha) * texel(image, index, one.mode) +
                           alpha * texel(image, index + 1, one.mode);
                } else {
                    // On the edge between two texels a mirrored one may be either.
                    if (one.mode == cudaAddressModeMirror && x == std::floor(x)) {
                        continue;
                    }
                    want = texel(image, static_cast<int>(std::floor(x)), one.mode);
                }
                wrong += std::fabs(result[i] - want) > 0.001f;
            }
            std::printf("%s, %s: %d wrong\n", one.name, linear ? "linear" : "nearest", wrong);
            right = right && wrong == 0;
        }
    }
    CHECK(cudaFree(output));
    CHECK(cudaFreeArray(array));
    return report("texture_address_modes", right);
}
