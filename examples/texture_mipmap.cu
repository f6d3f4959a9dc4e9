// SPDX-License-Identifier: Apache-2.0
//
// A mipmapped array: each level is an array of its own that can be filled, and a texture reads the
// level that it is told, the nearest one or a mixture of two.

#include "texture.h"

#include <cmath>
#include <vector>

constexpr int WIDTH = 32, LEVELS = 6;
constexpr int STEPS = 4;

// Each level has one value everywhere, so that only the level decides.
static float value_of(int level) { return level * level + 1.0f; }

__global__ void by_level(cudaTextureObject_t texture, float *output, float first) {
    output[threadIdx.x] = tex2DLod<float>(texture, 0.375f, 0.625f, threadIdx.x * (1.0f / STEPS) + first);
}

// A gradient of 2^n texels a pixel means level n.
__global__ void by_gradient(cudaTextureObject_t texture, float *output) {
    const float slope = exp2f(threadIdx.x) / WIDTH;
    const float2 along = make_float2(slope, 0), across = make_float2(0, slope / 2);
    output[threadIdx.x] = tex2DGrad<float>(texture, 0.5f, 0.5f, along, across);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Reads levels of a mipmapped texture.");
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaMipmappedArray_t mipmap = nullptr;
    CHECK(cudaMallocMipmappedArray(&mipmap, &format, make_cudaExtent(WIDTH, WIDTH, 0), LEVELS));
    bool right = true;
    for (int level = 0; level < LEVELS; ++level) {
        cudaArray_t array = nullptr;
        CHECK(cudaGetMipmappedArrayLevel(&array, mipmap, level));
        cudaExtent extent = {};
        CHECK(cudaArrayGetInfo(nullptr, &extent, nullptr, array));
        const size_t width = WIDTH >> level;
        right = right && extent.width == width && extent.height == width;
        const std::vector<float> texels(width * width, value_of(level));
        fill_array(array, texels.data(), sizeof(float), make_cudaExtent(width, width, 0));
    }
    std::printf("extents of the levels: %s\n", right ? "right" : "wrong");

    const int count = (LEVELS + 1) * STEPS;
    const float first = -0.5f;
    float *output = nullptr;
    CHECK(cudaMalloc(&output, count * sizeof(float)));
    std::vector<float> result(count);
    for (const bool linear : {false, true}) {
        cudaResourceDesc resource = {};
        resource.resType = cudaResourceTypeMipmappedArray;
        resource.res.mipmap.mipmap = mipmap;
        cudaTextureDesc description = texture_description(
            cudaAddressModeClamp, cudaFilterModeLinear, cudaReadModeElementType, true);
        description.mipmapFilterMode = linear ? cudaFilterModeLinear : cudaFilterModePoint;
        description.maxMipmapLevelClamp = LEVELS - 1;
        cudaTextureObject_t texture = 0;
        CHECK(cudaCreateTextureObject(&texture, &resource, &description, nullptr));

        by_level<<<1, count>>>(texture, output, first);
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(result.data(), output, count * sizeof(float), cudaMemcpyDeviceToHost));
        int wrong = 0;
        for (int i = 0; i < count; ++i) {
            float level = i / float(STEPS) + first;
            level = level < 0 ? 0 : (level < LEVELS - 1 ? level : LEVELS - 1);
            const float low = std::floor(level), fraction = level - low;
            float want = value_of(static_cast<int>(low));
            if (linear && fraction > 0) {
                want += fraction * (value_of(static_cast<int>(low) + 1) - want);
            } else if (!linear && fraction == 0.5f) {
                // Half way either level is the nearest.
                continue;
            } else if (!linear) {
                want = value_of(static_cast<int>(std::floor(level + 0.5f)));
            }
            wrong += std::fabs(result[i] - want) > 0.001f;
        }
        std::printf("%s level: %d of %d wrong\n", linear ? "mixed" : "nearest", wrong, count);
        right = right && wrong == 0;

        by_gradient<<<1, LEVELS>>>(texture, output);
        CHECK_LAUNCH();
        CHECK(cudaMemcpy(result.data(), output, LEVELS * sizeof(float), cudaMemcpyDeviceToHost));
        wrong = 0;
        for (int level = 0; level < LEVELS; ++level) {
            // The level of a gradient may be a little off.
            const float slack = linear ? 0.05f * value_of(level) : 0.001f;
            wrong += std::fabs(result[level] - value_of(level)) > slack;
        }
        std::printf("by gradient: %d of %d wrong\n", wrong, LEVELS);
        right = right && wrong == 0;
        CHECK(cudaDestroyTextureObject(texture));
    }
    CHECK(cudaFree(output));
    CHECK(cudaFreeMipmappedArray(mipmap));
    return report("texture_mipmap", right);
}
