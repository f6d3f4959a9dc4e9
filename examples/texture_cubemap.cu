// SPDX-License-Identifier: Apache-2.0
//
// Cubemaps: a direction from the middle of a cube finds a face and a place on it. The directions
// here go through the middles of texels.

#include "texture.h"

#include <vector>

constexpr int WIDTH = 8, CUBES = 3;

// The direction of a place on a face, by the programming guide's table: s and t from -1 to 1.
__host__ __device__ static float3 direction(int face, float s, float t) {
    switch (face) {
    case 0:
        return make_float3(1, -t, -s);
    case 1:
        return make_float3(-1, -t, s);
    case 2:
        return make_float3(s, 1, t);
    case 3:
        return make_float3(s, -1, -t);
    case 4:
        return make_float3(s, -t, 1);
    default:
        return make_float3(-s, -t, -1);
    }
}

__global__ void sample(cudaTextureObject_t cube, cudaTextureObject_t cubes, int *of_cube,
                       int *of_cubes) {
    const int x = threadIdx.x, y = threadIdx.y, face = blockIdx.x, layer = blockIdx.y;
    const float s = (2 * x + 1) / float(WIDTH) - 1, t = (2 * y + 1) / float(WIDTH) - 1;
    float3 at = direction(face, s, t);
    // Only the direction matters, not the length.
    at.x *= 2.5f;
    at.y *= 2.5f;
    at.z *= 2.5f;
    const int place = (face * WIDTH + y) * WIDTH + x;
    if (layer == 0) {
        of_cube[place] = texCubemap<int>(cube, at.x, at.y, at.z);
    }
    of_cubes[layer * 6 * WIDTH * WIDTH + place] =
        texCubemapLayered<int>(cubes, at.x, at.y, at.z, layer);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Reads cubemaps.");
    std::vector<int> texels(WIDTH * WIDTH * 6 * CUBES);
    for (size_t i = 0; i < texels.size(); ++i) {
        texels[i] = static_cast<int>(i) + 1000;
    }
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<int>();
    const cudaExtent of_one = make_cudaExtent(WIDTH, WIDTH, 6);
    const cudaExtent of_all = make_cudaExtent(WIDTH, WIDTH, 6 * CUBES);
    cudaArray_t one = nullptr, all = nullptr;
    CHECK(cudaMalloc3DArray(&one, &format, of_one, cudaArrayCubemap));
    CHECK(cudaMalloc3DArray(&all, &format, of_all, cudaArrayCubemap | cudaArrayLayered));
    fill_array(one, texels.data(), sizeof(int), of_one);
    fill_array(all, texels.data(), sizeof(int), of_all);
    const cudaTextureDesc description = texture_description(
        cudaAddressModeClamp, cudaFilterModePoint, cudaReadModeElementType, true);
    const cudaTextureObject_t cube = texture_of(one, description);
    const cudaTextureObject_t cubes = texture_of(all, description);

    const size_t bytes = texels.size() * sizeof(int);
    int *of_cube = nullptr, *of_cubes = nullptr;
    CHECK(cudaMalloc(&of_cube, bytes / CUBES));
    CHECK(cudaMalloc(&of_cubes, bytes));
    sample<<<dim3(6, CUBES), dim3(WIDTH, WIDTH)>>>(cube, cubes, of_cube, of_cubes);
    CHECK_LAUNCH();
    std::vector<int> got_one(texels.size() / CUBES), got_all(texels.size());
    CHECK(cudaMemcpy(got_one.data(), of_cube, bytes / CUBES, cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(got_all.data(), of_cubes, bytes, cudaMemcpyDeviceToHost));

    int wrong_one = 0, wrong_all = 0;
    for (size_t i = 0; i < texels.size(); ++i) {
        wrong_one += i < got_one.size() && got_one[i] != texels[i];
        wrong_all += got_all[i] != texels[i];
    }
    std::printf("cubemap: %d of %zu texels wrong\n", wrong_one, got_one.size());
    std::printf("layered cubemap: %d of %zu texels wrong\n", wrong_all, got_all.size());
    CHECK(cudaDestroyTextureObject(cube));
    CHECK(cudaDestroyTextureObject(cubes));
    CHECK(cudaFree(of_cube));
    CHECK(cudaFree(of_cubes));
    CHECK(cudaFreeArray(one));
    CHECK(cudaFreeArray(all));
    return report("texture_cubemap", wrong_one == 0 && wrong_all == 0);
}
