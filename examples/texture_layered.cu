// SPDX-License-Identifier: Apache-2.0
//
// Layered textures: filtering stays in a layer, and a layer beyond the last is the last.

#include "texture.h"

#include <cmath>
#include <vector>

constexpr int WIDTH = 32, HEIGHT = 16, LAYERS = 5;

// Between two texels of a row, in each layer and one more.
__global__ void sample(cudaTextureObject_t lines, cudaTextureObject_t planes, float *of_lines,
                       float *of_planes) {
    const int x = threadIdx.x, y = blockIdx.x, layer = blockIdx.y;
    if (y == 0) {
        of_lines[layer * WIDTH + x] = tex1DLayered<float>(lines, x + 1.0f, layer);
    }
    of_planes[(layer * HEIGHT + y) * WIDTH + x] =
        tex2DLayered<float>(planes, x + 0.5f, y + 0.75f, layer);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Reads layered textures.");
    std::vector<float> line(WIDTH * LAYERS), plane(WIDTH * HEIGHT * LAYERS);
    for (size_t i = 0; i < line.size(); ++i) {
        line[i] = static_cast<float>(i * 31 % 64);
    }
    for (size_t i = 0; i < plane.size(); ++i) {
        plane[i] = static_cast<float>(i * 13 % 256);
    }
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    const cudaExtent of_line = make_cudaExtent(WIDTH, 0, LAYERS);
    const cudaExtent of_plane = make_cudaExtent(WIDTH, HEIGHT, LAYERS);
    cudaArray_t lines = nullptr, planes = nullptr;
    CHECK(cudaMalloc3DArray(&lines, &format, of_line, cudaArrayLayered));
    CHECK(cudaMalloc3DArray(&planes, &format, of_plane, cudaArrayLayered));
    fill_array(lines, line.data(), sizeof(float), of_line);
    fill_array(planes, plane.data(), sizeof(float), of_plane);
    const cudaTextureDesc description = texture_description(
        cudaAddressModeClamp, cudaFilterModeLinear, cudaReadModeElementType, false);
    const cudaTextureObject_t line_texture = texture_of(lines, description);
    const cudaTextureObject_t plane_texture = texture_of(planes, description);

    std::vector<float> got_lines(WIDTH * (LAYERS + 1)), got_planes(WIDTH * HEIGHT * (LAYERS + 1));
    float *of_lines = nullptr, *of_planes = nullptr;
    CHECK(cudaMalloc(&of_lines, got_lines.size() * sizeof(float)));
    CHECK(cudaMalloc(&of_planes, got_planes.size() * sizeof(float)));
    sample<<<dim3(HEIGHT, LAYERS + 1), WIDTH>>>(line_texture, plane_texture, of_lines, of_planes);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(got_lines.data(), of_lines, got_lines.size() * sizeof(float),
                     cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(got_planes.data(), of_planes, got_planes.size() * sizeof(float),
                     cudaMemcpyDeviceToHost));

    int wrong_lines = 0, wrong_planes = 0;
    for (int layer = 0; layer <= LAYERS; ++layer) {
        const int from = layer < LAYERS ? layer : LAYERS - 1;
        for (int x = 0; x < WIDTH; ++x) {
            const int next = x + 1 < WIDTH ? x + 1 : x;
            const float want = (line[from * WIDTH + x] + line[from * WIDTH + next]) / 2;
            wrong_lines += std::fabs(got_lines[layer * WIDTH + x] - want) > 0.001f;
            for (int y = 0; y < HEIGHT; ++y) {
                const int below = y + 1 < HEIGHT ? y + 1 : y;
                const float value = 0.75f * plane[(from * HEIGHT + y) * WIDTH + x] +
                                    0.25f * plane[(from * HEIGHT + below) * WIDTH + x];
                const float got = got_planes[(layer * HEIGHT + y) * WIDTH + x];
                wrong_planes += std::fabs(got - value) > 0.001f;
            }
        }
    }
    std::printf("one-dimensional layers: %d wrong\n", wrong_lines);
    std::printf("two-dimensional layers: %d wrong\n", wrong_planes);
    CHECK(cudaDestroyTextureObject(line_texture));
    CHECK(cudaDestroyTextureObject(plane_texture));
    CHECK(cudaFree(of_lines));
    CHECK(cudaFree(of_planes));
    CHECK(cudaFreeArray(lines));
    CHECK(cudaFreeArray(planes));
    return report("texture_layered", wrong_lines == 0 && wrong_planes == 0);
}
