// SPDX-License-Identifier: Apache-2.0
//
// Textures as plain numbers: handles lie in an array in device memory, each thread takes another
// one, and lanes of a warp read different textures at the same time. The formats differ too.

#include "texture.h"

#include <vector>

constexpr int TEXTURES = 40, WIDTH = 16;

__global__ void sample(const cudaTextureObject_t *textures, float *output) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int which = i % TEXTURES, x = i / TEXTURES;
    if (x < WIDTH) {
        output[i] = tex1D<float>(textures[which], x + 0.5f);
    }
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Reads many textures by their handles in memory.");
    std::vector<cudaArray_t> arrays(TEXTURES);
    std::vector<cudaTextureObject_t> textures(TEXTURES);
    for (int i = 0; i < TEXTURES; ++i) {
        const cudaTextureDesc description =
            texture_description(cudaAddressModeClamp, cudaFilterModePoint,
                                i % 2 == 0 ? cudaReadModeElementType : cudaReadModeNormalizedFloat,
                                false);
        const cudaChannelFormatDesc format =
            i % 2 == 0 ? cudaCreateChannelDesc<float>() : cudaCreateChannelDesc<unsigned char>();
        CHECK(cudaMallocArray(&arrays[i], &format, WIDTH));
        if (i % 2 == 0) {
            std::vector<float> texels(WIDTH);
            for (int x = 0; x < WIDTH; ++x) {
                texels[x] = i * 100.0f + x;
            }
            fill_array(arrays[i], texels.data(), sizeof(float), make_cudaExtent(WIDTH, 0, 0));
        } else {
            std::vector<unsigned char> texels(WIDTH);
            for (int x = 0; x < WIDTH; ++x) {
                texels[x] = static_cast<unsigned char>(i * 5 + x);
            }
            fill_array(arrays[i], texels.data(), 1, make_cudaExtent(WIDTH, 0, 0));
        }
        textures[i] = texture_of(arrays[i], description);
    }
    cudaTextureObject_t *handles = nullptr;
    float *output = nullptr;
    const int count = TEXTURES * WIDTH;
    CHECK(cudaMalloc(&handles, TEXTURES * sizeof(cudaTextureObject_t)));
    CHECK(cudaMalloc(&output, count * sizeof(float)));
    CHECK(cudaMemcpy(handles, textures.data(), TEXTURES * sizeof(cudaTextureObject_t),
                     cudaMemcpyHostToDevice));
    sample<<<(count + 127) / 128, 128>>>(handles, output);
    CHECK_LAUNCH();
    std::vector<float> result(count);
    CHECK(cudaMemcpy(result.data(), output, count * sizeof(float), cudaMemcpyDeviceToHost));
    int wrong = 0;
    for (int i = 0; i < count; ++i) {
        const int which = i % TEXTURES, x = i / TEXTURES;
        const float want = which % 2 == 0 ? which * 100.0f + x : (which * 5 + x) / 255.0f;
        const float difference = result[i] - want;
        wrong += difference > 1e-5f || difference < -1e-5f;
    }
    std::printf("%d textures, %d of %d texels wrong\n", TEXTURES, wrong, count);
    for (int i = 0; i < TEXTURES; ++i) {
        CHECK(cudaDestroyTextureObject(textures[i]));
        CHECK(cudaFreeArray(arrays[i]));
    }
    CHECK(cudaFree(handles));
    CHECK(cudaFree(output));
    return report("texture_bindless", wrong == 0);
}
