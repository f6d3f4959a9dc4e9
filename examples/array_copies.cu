// SPDX-License-Identifier: Apache-2.0
//
// Copies of parts of arrays: to and from host memory, linear memory and other arrays, in two and
// three dimensions, with offsets and pitches on both sides, and asynchronous.

#include "texture.h"

#include <vector>

constexpr int WIDTH = 50, HEIGHT = 40, DEPTH = 6;

static int value_at(int x, int y, int z) { return (z * HEIGHT + y) * WIDTH + x + 1; }

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Copies parts of arrays.");
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<int>();
    const cudaExtent whole = make_cudaExtent(WIDTH, HEIGHT, DEPTH);
    std::vector<int> volume(WIDTH * HEIGHT * DEPTH);
    for (int i = 0; i < WIDTH * HEIGHT * DEPTH; ++i) {
        volume[i] = i + 1;
    }
    bool right = true;
    const auto tell = [&](const char *name, int wrong) {
        std::printf("%s: %d wrong\n", name, wrong);
        right = right && wrong == 0;
    };

    // A box of host memory with slices that do not follow each other, to an offset in an array.
    cudaArray_t box = nullptr;
    CHECK(cudaMalloc3DArray(&box, &format, whole));
    const std::vector<int> zeros(volume.size());
    fill_array(box, zeros.data(), sizeof(int), whole);
    const int part_width = 20, part_height = 10, part_depth = 3;
    cudaMemcpy3DParms copy = {};
    copy.srcPtr = make_cudaPitchedPtr(volume.data() + 7, WIDTH * sizeof(int), WIDTH, HEIGHT);
    copy.srcPos = make_cudaPos(0, 5, 1);
    copy.dstArray = box;
    copy.dstPos = make_cudaPos(3, 2, 2);
    copy.extent = make_cudaExtent(part_width, part_height, part_depth);
    copy.kind = cudaMemcpyHostToDevice;
    CHECK(cudaMemcpy3D(&copy));
    std::vector<int> result(volume.size());
    read_array(box, result.data(), sizeof(int), whole);
    int wrong = 0;
    for (int z = 0; z < DEPTH; ++z) {
        for (int y = 0; y < HEIGHT; ++y) {
            for (int x = 0; x < WIDTH; ++x) {
                const int px = x - 3, py = y - 2, pz = z - 2;
                const bool inside = px >= 0 && px < part_width && py >= 0 && py < part_height &&
                                    pz >= 0 && pz < part_depth;
                const int want = inside ? value_at(px + 7, py + 5, pz + 1) : 0;
                wrong += result[(z * HEIGHT + y) * WIDTH + x] != want;
            }
        }
    }
    tell("a box to an array", wrong);

    // Array to array, then to pitched memory, then back to the host with another pitch.
    cudaArray_t other = nullptr;
    CHECK(cudaMalloc3DArray(&other, &format, whole));
    fill_array(other, volume.data(), sizeof(int), whole);
    cudaMemcpy3DParms across = {};
    across.srcArray = other;
    across.srcPos = make_cudaPos(10, 0, 0);
    across.dstArray = box;
    across.dstPos = make_cudaPos(0, 20, 4);
    across.extent = make_cudaExtent(30, 20, 2);
    across.kind = cudaMemcpyDeviceToDevice;
    CHECK(cudaMemcpy3D(&across));
    cudaPitchedPtr pitched = {};
    CHECK(cudaMalloc3D(&pitched, make_cudaExtent(WIDTH * sizeof(int), HEIGHT, DEPTH)));
    cudaMemcpy3DParms to_memory = {};
    to_memory.srcArray = box;
    to_memory.dstPtr = pitched;
    to_memory.extent = whole;
    to_memory.kind = cudaMemcpyDeviceToDevice;
    CHECK(cudaMemcpy3D(&to_memory));
    cudaMemcpy3DParms to_host = {};
    to_host.srcPtr = pitched;
    to_host.srcPos = make_cudaPos(0, 20, 4);
    to_host.dstPtr = make_cudaPitchedPtr(result.data(), 32 * sizeof(int), 32, 20);
    to_host.extent = make_cudaExtent(30 * sizeof(int), 20, 2);
    to_host.kind = cudaMemcpyDeviceToHost;
    CHECK(cudaMemcpy3D(&to_host));
    wrong = 0;
    for (int z = 0; z < 2; ++z) {
        for (int y = 0; y < 20; ++y) {
            for (int x = 0; x < 30; ++x) {
                wrong += result[(z * 20 + y) * 32 + x] != value_at(x + 10, y, z);
            }
        }
    }
    tell("array to array to memory to host", wrong);
    CHECK(cudaFree(pitched.ptr));

    // Two dimensions, asynchronous, from page-locked memory and back.
    cudaStream_t stream = nullptr;
    CHECK(cudaStreamCreate(&stream));
    cudaArray_t plane = nullptr, second = nullptr;
    CHECK(cudaMallocArray(&plane, &format, WIDTH, HEIGHT));
    CHECK(cudaMallocArray(&second, &format, WIDTH, HEIGHT));
    int *locked = nullptr;
    CHECK(cudaMallocHost(&locked, 2 * WIDTH * HEIGHT * sizeof(int)));
    for (int i = 0; i < WIDTH * HEIGHT; ++i) {
        locked[i] = i * 3;
        locked[WIDTH * HEIGHT + i] = -1;
    }
    CHECK(cudaMemcpy2DToArrayAsync(plane, 0, 0, locked, WIDTH * sizeof(int), WIDTH * sizeof(int),
                                   HEIGHT, cudaMemcpyHostToDevice, stream));
    CHECK(cudaMemcpy2DFromArrayAsync(locked + WIDTH * HEIGHT, WIDTH * sizeof(int), plane,
                                     4 * sizeof(int), 6, 30 * sizeof(int), 20,
                                     cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    wrong = 0;
    for (int y = 0; y < HEIGHT; ++y) {
        for (int x = 0; x < WIDTH; ++x) {
            const int want = x < 30 && y < 20 ? ((y + 6) * WIDTH + x + 4) * 3 : -1;
            wrong += locked[WIDTH * HEIGHT + y * WIDTH + x] != want;
        }
    }
    tell("a part of a plane, asynchronous", wrong);

    CHECK(cudaMemcpy2DArrayToArray(second, 8 * sizeof(int), 3, plane, 0, 1, 20 * sizeof(int), 10,
                                   cudaMemcpyDeviceToDevice));
    int *linear = nullptr;
    CHECK(cudaMalloc(&linear, 20 * 10 * sizeof(int)));
    CHECK(cudaMemcpy2DFromArray(linear, 20 * sizeof(int), second, 8 * sizeof(int), 3,
                                20 * sizeof(int), 10, cudaMemcpyDeviceToDevice));
    CHECK(cudaMemcpy(result.data(), linear, 20 * 10 * sizeof(int), cudaMemcpyDeviceToHost));
    wrong = 0;
    for (int y = 0; y < 10; ++y) {
        for (int x = 0; x < 20; ++x) {
            wrong += result[y * 20 + x] != ((y + 1) * WIDTH + x) * 3;
        }
    }
    tell("plane to plane to memory", wrong);

    // What does not fit is refused.
    const cudaError_t refused =
        cudaMemcpy2DToArray(plane, 8, 0, locked, WIDTH * sizeof(int), WIDTH * sizeof(int), HEIGHT,
                            cudaMemcpyHostToDevice);
    std::printf("a copy beyond the edge: %s\n", cudaGetErrorName(refused));
    right = right && refused == cudaErrorInvalidValue;
    cudaGetLastError();

    CHECK(cudaFree(linear));
    CHECK(cudaFreeHost(locked));
    CHECK(cudaStreamDestroy(stream));
    for (const cudaArray_t array : {box, other, plane, second}) {
        CHECK(cudaFreeArray(array));
    }
    return report("array_copies", right);
}
