// SPDX-License-Identifier: Apache-2.0
//
// Two-dimensional memory: rows are padded to a pitch that suits the device, and copies move
// rectangles between memories of different pitch.
//
// Blurs an image. It stands in a frame of zeros, so that the kernel needs no case for the edge.

#include "check.h"

#include <vector>

constexpr int THREADS_X = 32;
constexpr int THREADS_Y = 8;

// The pitch is in bytes, whatever the elements are.
__device__ const int *row_of(const int *image, size_t pitch, int row) {
    return reinterpret_cast<const int *>(reinterpret_cast<const char *>(image) + row * pitch);
}

// Each pixel of `output` is the sum of the 3 x 3 pixels around it in the framed input.
__global__ void blur(const int *framed, size_t framed_pitch, int *output, size_t output_pitch,
                     int width, int height) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) {
        return;
    }
    int sum = 0;
    for (int row = y; row < y + 3; ++row) {
        const int *pixels = row_of(framed, framed_pitch, row);
        sum += pixels[x] + pixels[x + 1] + pixels[x + 2];
    }
    const_cast<int *>(row_of(output, output_pitch, y))[x] = sum;
}

static int blurred_on_cpu(const std::vector<int> &image, int width, int height, int x, int y) {
    int sum = 0;
    for (int row = y - 1; row <= y + 1; ++row) {
        for (int column = x - 1; column <= x + 1; ++column) {
            if (row >= 0 && row < height && column >= 0 && column < width) {
                sum += image[row * width + column];
            }
        }
    }
    return sum;
}

int main(int argc, char **argv) {
    const int width = size_argument(argc, argv, "Blurs an image in pitched memory.", "columns", 601,
                                    16384);
    const int height = (width * 2 + 2) / 3;
    const size_t row_bytes = width * sizeof(int);
    const size_t framed_row_bytes = (width + 2) * sizeof(int);

    std::vector<int> image(static_cast<size_t>(width) * height);
    for (size_t i = 0; i < image.size(); ++i) {
        image[i] = static_cast<int>(i * 7919 % 256);
    }

    int *framed = nullptr, *output = nullptr;
    size_t framed_pitch = 0, output_pitch = 0;
    CHECK(cudaMallocPitch(&framed, &framed_pitch, framed_row_bytes, height + 2));
    CHECK(cudaMallocPitch(&output, &output_pitch, row_bytes, height));
    const bool is_padded = framed_pitch >= framed_row_bytes && output_pitch >= row_bytes;

    // The frame is zero; the image goes into it one row down and one pixel to the right.
    CHECK(cudaMemset2D(framed, framed_pitch, 0, framed_row_bytes, height + 2));
    char *const inside = reinterpret_cast<char *>(framed) + framed_pitch + sizeof(int);
    CHECK(cudaMemcpy2D(inside, framed_pitch, image.data(), row_bytes, row_bytes, height,
                       cudaMemcpyHostToDevice));

    const dim3 block(THREADS_X, THREADS_Y);
    const dim3 grid((width + THREADS_X - 1) / THREADS_X, (height + THREADS_Y - 1) / THREADS_Y);
    blur<<<grid, block>>>(framed, framed_pitch, output, output_pitch, width, height);
    CHECK_LAUNCH();

    // On the host the rows are wider than the image; what is beside it must stay as it is.
    const int host_width = width + 5;
    std::vector<int> result(static_cast<size_t>(host_width) * height, -1);
    CHECK(cudaMemcpy2D(result.data(), host_width * sizeof(int), output, output_pitch, row_bytes,
                       height, cudaMemcpyDeviceToHost));

    // And a rectangle from device to device: the blurred image over the original.
    CHECK(cudaMemcpy2D(inside, framed_pitch, output, output_pitch, row_bytes, height,
                       cudaMemcpyDeviceToDevice));
    std::vector<int> whole(static_cast<size_t>(width + 2) * (height + 2), -1);
    CHECK(cudaMemcpy2D(whole.data(), framed_row_bytes, framed, framed_pitch, framed_row_bytes,
                       height + 2, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(framed));
    CHECK(cudaFree(output));

    int wrong = 0, overwritten = 0, wrong_in_frame = 0;
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < host_width; ++x) {
            const int pixel = result[y * host_width + x];
            if (x < width) {
                wrong += pixel != blurred_on_cpu(image, width, height, x, y);
            } else {
                overwritten += pixel != -1;
            }
        }
    }
    for (int y = 0; y < height + 2; ++y) {
        for (int x = 0; x < width + 2; ++x) {
            const bool is_frame = x == 0 || y == 0 || x == width + 1 || y == height + 1;
            const int expected = is_frame ? 0 : result[(y - 1) * host_width + x - 1];
            wrong_in_frame += whole[y * (width + 2) + x] != expected;
        }
    }
    std::printf("%d x %d pixels blurred, %d wrong\n", width, height, wrong);
    std::printf("values beside the rectangle that the copy changed: %d\n", overwritten);
    std::printf("copied back into the frame of zeros, %d wrong\n", wrong_in_frame);
    return report("pitched_memory",
                  is_padded && wrong == 0 && overwritten == 0 && wrong_in_frame == 0);
}
