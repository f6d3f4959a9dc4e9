// SPDX-License-Identifier: Apache-2.0
//
// Classes on the device: objects made by a kernel, with virtual functions and destructors, that
// another kernel uses without knowing what they are.

#include "check.h"

#include <vector>

class Shape {
public:
    __device__ explicit Shape(int *alive) : alive_(alive) { atomicAdd(alive_, 1); }
    __device__ virtual ~Shape() { atomicSub(alive_, 1); }
    __device__ virtual int area() const = 0;
    __device__ virtual int corners() const { return 4; }

private:
    int *alive_;
};

class Rectangle : public Shape {
public:
    __device__ Rectangle(int *alive, int width, int height)
        : Shape(alive), width_(width), height_(height) {}
    __device__ int area() const override { return width_ * height_; }

private:
    int width_, height_;
};

class Square final : public Rectangle {
public:
    __device__ Square(int *alive, int side) : Rectangle(alive, side, side) {}
};

class Triangle final : public Shape {
public:
    __device__ Triangle(int *alive, int base, int height)
        : Shape(alive), base_(base), height_(height) {}
    __device__ int area() const override { return base_ * height_ / 2; }
    __device__ int corners() const override { return 3; }

private:
    int base_, height_;
};

__global__ void make(Shape **shapes, int count, int *alive) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    switch (i % 3) {
    case 0: shapes[i] = new Rectangle(alive, i, 2); break;
    case 1: shapes[i] = new Square(alive, i); break;
    default: shapes[i] = new Triangle(alive, i, 6); break;
    }
}

__global__ void measure(Shape *const *shapes, int count, int *areas, int *corners) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        areas[i] = shapes[i]->area();
        atomicAdd(corners, shapes[i]->corners());
    }
}

__global__ void destroy(Shape **shapes, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        delete shapes[i];
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Virtual functions on the device.");
    constexpr int COUNT = 500, THREADS = 128, BLOCKS = (COUNT + THREADS - 1) / THREADS;
    Shape **shapes = nullptr;
    int *areas = nullptr, *numbers = nullptr;
    CHECK(cudaMalloc(&shapes, COUNT * sizeof(Shape *)));
    CHECK(cudaMalloc(&areas, COUNT * sizeof(int)));
    CHECK(cudaMalloc(&numbers, 2 * sizeof(int)));
    CHECK(cudaMemset(numbers, 0, 2 * sizeof(int)));
    int alive = 0;
    make<<<BLOCKS, THREADS>>>(shapes, COUNT, numbers);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&alive, numbers, sizeof(int), cudaMemcpyDeviceToHost));
    measure<<<BLOCKS, THREADS>>>(shapes, COUNT, areas, numbers + 1);
    destroy<<<BLOCKS, THREADS>>>(shapes, COUNT);
    CHECK_LAUNCH();
    std::vector<int> result(COUNT);
    int left[2] = {};
    CHECK(cudaMemcpy(result.data(), areas, COUNT * sizeof(int), cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(left, numbers, sizeof(left), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(shapes));
    CHECK(cudaFree(areas));
    CHECK(cudaFree(numbers));
    int wrong = 0, corners = 0;
    for (int i = 0; i < COUNT; ++i) {
        const int area = i % 3 == 0 ? i * 2 : i % 3 == 1 ? i * i : i * 3;
        wrong += result[i] != area;
        corners += i % 3 == 2 ? 3 : 4;
    }
    std::printf("objects made: %d, left after their end: %d\n", alive, left[0]);
    std::printf("areas that differ: %d; corners %d, expected %d\n", wrong, left[1], corners);
    return report("virtual_functions",
                  wrong == 0 && alive == COUNT && left[0] == 0 && left[1] == corners);
}
