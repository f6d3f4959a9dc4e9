// SPDX-License-Identifier: Apache-2.0
//
// Draws the Mandelbrot set: z becomes z² + c until |z| > 2, and the number of rounds is the
// pixel's colour. Neighbouring threads leave the loop after very different numbers of rounds.
//
// Writes mandelbrot.ppm, an image that most viewers open. Every product is part of an explicit
// fmaf, so a CPU and a GPU round at the same places and the two images are equal to the last bit.

#include "check.h"

#include <cmath>
#include <string>
#include <vector>

constexpr int ROUNDS = 192;

// The part of the plane that the image shows: 3 wide, 2 high.
constexpr float LEFT = -2.125f;
constexpr float TOP = -1.0f;
constexpr float WIDTH = 3.0f;

__host__ __device__ int rounds_at(int column, int row, float pixel_size) {
    const float c_x = fmaf(static_cast<float>(column), pixel_size, LEFT);
    const float c_y = fmaf(static_cast<float>(row), pixel_size, TOP);
    float x = 0.0f, y = 0.0f;
    int round = 0;
    while (round < ROUNDS && fmaf(x, x, y * y) <= 4.0f) {
        const float next_x = fmaf(x, x, fmaf(-y, y, c_x));
        y = fmaf(x + x, y, c_y);
        x = next_x;
        ++round;
    }
    return round;
}

__global__ void draw(unsigned char *pixels, int width, int height, float pixel_size) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    const int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (column < width && row < height) {
        pixels[row * width + column] =
            static_cast<unsigned char>(rounds_at(column, row, pixel_size));
    }
}

// Night blue through white to gold outside the set, and black inside.
static bool write_ppm(const char *path, const std::vector<unsigned char> &pixels, int width,
                      int height) {
    FILE *file = std::fopen(path, "wb");
    if (file == nullptr) {
        std::perror(path);
        return false;
    }
    std::string image = "P6\n" + std::to_string(width) + " " + std::to_string(height) + "\n255\n";
    for (const unsigned char rounds : pixels) {
        const bool is_inside = rounds == ROUNDS;
        const double phase = std::sqrt(rounds) * 0.55;
        for (const double shift : {-2.6, -2.0, -1.2}) {
            const double level = is_inside ? 0.0 : 127.5 + 127.5 * std::sin(phase + shift);
            image.push_back(static_cast<char>(static_cast<unsigned char>(level)));
        }
    }
    const size_t written = std::fwrite(image.data(), 1, image.size(), file);
    return std::fclose(file) == 0 && written == image.size();
}

static void print_preview(const std::vector<unsigned char> &pixels, int width, int height) {
    const std::string shades = " .:-=+*#%";
    for (int line = 0; line < 20; ++line) {
        std::string text;
        for (int letter = 0; letter < 60; ++letter) {
            const int column = letter * width / 60, row = (2 * line + 1) * height / 40;
            const int rounds = pixels[row * width + column];
            text += rounds == ROUNDS ? '@' : shades[rounds < 17 ? rounds / 2 : 8];
        }
        text.erase(text.find_last_not_of(' ') + 1);
        std::printf("%s\n", text.c_str());
    }
}

int main(int argc, char **argv) {
    const char *path = "mandelbrot.ppm";
    // The path is optional and comes first; a size may follow it.
    if (argc >= 2 && std::strcmp(argv[1], "--help") != 0) {
        path = argv[1];
        argv[1] = argv[0];
        --argc;
        ++argv;
    }
    const int width = size_argument(
        argc, argv, "Draws the Mandelbrot set into a PPM file, mandelbrot.ppm unless one is named.",
        "path] [columns", 480, 12000);
    const int height = (width * 2 + 2) / 3;
    const float pixel_size = WIDTH / static_cast<float>(width);
    const size_t count = static_cast<size_t>(width) * height;

    unsigned char *device_pixels = nullptr;
    CHECK(cudaMalloc(&device_pixels, count));
    const dim3 block(16, 16);
    const dim3 grid((width + block.x - 1) / block.x, (height + block.y - 1) / block.y);
    draw<<<grid, block>>>(device_pixels, width, height, pixel_size);
    CHECK_LAUNCH();
    std::vector<unsigned char> pixels(count);
    CHECK(cudaMemcpy(pixels.data(), device_pixels, count, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_pixels));

    int wrong = 0;
    for (int row = 0; row < height; ++row) {
        for (int column = 0; column < width; ++column) {
            wrong += pixels[row * width + column] != rounds_at(column, row, pixel_size);
        }
    }
    print_preview(pixels, width, height);
    std::printf("%d x %d pixels; those that differ from the CPU's: %d\n", width, height, wrong);
    return report("mandelbrot", write_ppm(path, pixels, width, height) && wrong == 0);
}
