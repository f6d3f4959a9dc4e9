// SPDX-License-Identifier: Apache-2.0
//
// Gathering: one channel of the four texels that linear filtering would mix.

#include "texture.h"

#include <vector>

constexpr int WIDTH = 24, HEIGHT = 12;

template <int CHANNEL>
__global__ void gather(cudaTextureObject_t texture, int4 *output) {
    const int x = threadIdx.x, y = blockIdx.x;
    // Where four texels meet.
    output[y * WIDTH + x] = tex2Dgather<int4>(texture, x + 1.0f, y + 1.0f, CHANNEL);
}

template <int CHANNEL>
static int mismatches(cudaTextureObject_t texture, const std::vector<int4> &image, int4 *output) {
    gather<CHANNEL><<<HEIGHT, WIDTH>>>(texture, output);
    CHECK_LAUNCH();
    std::vector<int4> result(image.size());
    CHECK(cudaMemcpy(result.data(), output, result.size() * sizeof(int4), cudaMemcpyDeviceToHost));
    const auto texel = [&](int x, int y) {
        x = x < WIDTH ? x : WIDTH - 1;
        y = y < HEIGHT ? y : HEIGHT - 1;
        return reinterpret_cast<const int *>(&image[y * WIDTH + x])[CHANNEL];
    };
    int wrong = 0;
    for (int y = 0; y < HEIGHT; ++y) {
        for (int x = 0; x < WIDTH; ++x) {
            const int4 got = result[y * WIDTH + x];
            wrong += got.x != texel(x, y + 1) || got.y != texel(x + 1, y + 1) ||
                     got.z != texel(x + 1, y) || got.w != texel(x, y);
        }
    }
    std::printf("channel %d: %d of %zu wrong\n", CHANNEL, wrong, result.size());
    return wrong;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Gathers texels.");
    std::vector<int4> image(WIDTH * HEIGHT);
    for (int i = 0; i < WIDTH * HEIGHT; ++i) {
        image[i] = make_int4(i, -i, i * 1000, ~i);
    }
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<int4>();
    cudaArray_t array = nullptr;
    CHECK(cudaMallocArray(&array, &format, WIDTH, HEIGHT, cudaArrayTextureGather));
    fill_array(array, image.data(), sizeof(int4), make_cudaExtent(WIDTH, HEIGHT, 0));
    const cudaTextureObject_t texture =
        texture_of(array, texture_description(cudaAddressModeClamp, cudaFilterModePoint,
                                              cudaReadModeElementType, false));
    int4 *output = nullptr;
    CHECK(cudaMalloc(&output, image.size() * sizeof(int4)));
    const int wrong =
        mismatches<0>(texture, image, output) + mismatches<1>(texture, image, output) +
        mismatches<2>(texture, image, output) + mismatches<3>(texture, image, output);
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFree(output));
    CHECK(cudaFreeArray(array));
    return report("texture_gather", wrong == 0);
}
