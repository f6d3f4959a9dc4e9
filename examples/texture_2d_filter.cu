// SPDX-License-Identifier: Apache-2.0
//
// A two-dimensional texture object on a CUDA array, read at the nearest texel and with linear
// filtering.
//
// The CUDA programming guide ("Texture Fetching") gives the filter's weights 8 bits of fraction. The
// positions here are multiples of 1/16 of a texel, which these represent exactly.

#include "check.h"

#include <cmath>
#include <vector>

constexpr int STEPS = 16;

__global__ void sample(cudaTextureObject_t texture, float *output, int width, int height) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < width && y < height) {
        const float step = 1.0f / STEPS;
        output[y * width + x] = tex2D<float>(texture, (x - STEPS) * step, (y - STEPS) * step);
    }
}

static float texel(const std::vector<float> &image, int width, int height, int x, int y) {
    x = x < 0 ? 0 : (x < width ? x : width - 1);
    y = y < 0 ? 0 : (y < height ? y : height - 1);
    return image[y * width + x];
}

static float expected(const std::vector<float> &image, int width, int height, float x, float y,
                      bool linear) {
    if (!linear) {
        return texel(image, width, height, static_cast<int>(std::floor(x)),
                     static_cast<int>(std::floor(y)));
    }
    const float left = std::floor(x - 0.5f), top = std::floor(y - 0.5f);
    const float alpha = x - 0.5f - left, beta = y - 0.5f - top;
    const int i = static_cast<int>(left), j = static_cast<int>(top);
    return (1 - alpha) * (1 - beta) * texel(image, width, height, i, j) +
           alpha * (1 - beta) * texel(image, width, height, i + 1, j) +
           (1 - alpha) * beta * texel(image, width, height, i, j + 1) +
           alpha * beta * texel(image, width, height, i + 1, j + 1);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Reads a two-dimensional texture with and without linear filtering.");
    const int width = 37, height = 23;
    std::vector<float> image(width * height);
    for (size_t i = 0; i < image.size(); ++i) {
        image[i] = static_cast<float>(i * 7919 % 1024) - 300.0f;
    }

    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaArray_t array = nullptr;
    CHECK(cudaMallocArray(&array, &format, width, height));
    CHECK(cudaMemcpy2DToArray(array, 0, 0, image.data(), width * sizeof(float),
                              width * sizeof(float), height, cudaMemcpyHostToDevice));

    // A texel more on each side than the texture has.
    const int columns = (width + 2) * STEPS, rows = (height + 2) * STEPS;
    float *output = nullptr;
    CHECK(cudaMalloc(&output, columns * rows * sizeof(float)));
    std::vector<float> result(columns * rows);
    bool right = true;
    for (const bool linear : {false, true}) {
        cudaResourceDesc resource = {};
        resource.resType = cudaResourceTypeArray;
        resource.res.array.array = array;
        cudaTextureDesc description = {};
        description.addressMode[0] = description.addressMode[1] = cudaAddressModeClamp;
        description.filterMode = linear ? cudaFilterModeLinear : cudaFilterModePoint;
        description.readMode = cudaReadModeElementType;
        cudaTextureObject_t texture = 0;
        CHECK(cudaCreateTextureObject(&texture, &resource, &description, nullptr));

        const dim3 block(32, 8), grid((columns + 31) / 32, (rows + 7) / 8);
        sample<<<grid, block>>>(texture, output, columns, rows);
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(result.data(), output, result.size() * sizeof(float),
                         cudaMemcpyDeviceToHost));
        CHECK(cudaDestroyTextureObject(texture));

        int wrong = 0;
        for (int y = 0; y < rows; ++y) {
            for (int x = 0; x < columns; ++x) {
                const float want = expected(image, width, height, x / float(STEPS) - 1,
                                            y / float(STEPS) - 1, linear);
                wrong += std::fabs(result[y * columns + x] - want) > 0.01f;
            }
        }
        std::printf("%s: %d of %d positions wrong\n", linear ? "linear filter" : "nearest texel",
                    wrong, columns * rows);
        right = right && wrong == 0;
    }
    CHECK(cudaFree(output));
    CHECK(cudaFreeArray(array));
    return report("texture_2d_filter", right);
}
