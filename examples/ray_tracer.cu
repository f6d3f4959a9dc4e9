// SPDX-License-Identifier: Apache-2.0
//
// A ray tracer: spheres over a chequered floor, with shadows and mirrors, in a small picture that
// is compared with the CPU's.

#include "check.h"

#include <cmath>
#include <vector>

constexpr int WIDTH = 64, HEIGHT = 48, BOUNCES = 3;

struct Vector {
    float x, y, z;
};

__host__ __device__ Vector operator+(Vector a, Vector b) {
    return {a.x + b.x, a.y + b.y, a.z + b.z};
}
__host__ __device__ Vector operator-(Vector a, Vector b) {
    return {a.x - b.x, a.y - b.y, a.z - b.z};
}
__host__ __device__ Vector operator*(float k, Vector a) {
    return {k * a.x, k * a.y, k * a.z};
}
__host__ __device__ float dot(Vector a, Vector b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
__host__ __device__ Vector unit(Vector a) {
    return (1 / sqrtf(dot(a, a))) * a;
}

struct Sphere {
    Vector centre;
    float radius, shade, mirror;
};

__constant__ Sphere device_spheres[3];
static const Sphere host_spheres[3] = {{{0, 1, 6}, 1, 0.9f, 0.3f},
                                       {{-2, 0.7f, 5}, 0.7f, 0.5f, 0.6f},
                                       {{1.6f, 0.5f, 4.2f}, 0.5f, 0.7f, 0.1f}};

__host__ __device__ const Sphere *spheres() {
#ifdef __CUDA_ARCH__
    return device_spheres;
#else
    return host_spheres;
#endif
}

struct Hit {
    float distance, shade, mirror;
    Vector normal;
};

__host__ __device__ Hit trace(Vector origin, Vector direction) {
    Hit hit = {1e30f, 0, 0, {0, 0, 0}};
    for (int i = 0; i < 3; ++i) {
        const Sphere &sphere = spheres()[i];
        const Vector to = origin - sphere.centre;
        const float b = dot(to, direction);
        const float square = b * b - dot(to, to) + sphere.radius * sphere.radius;
        if (square <= 0) {
            continue;
        }
        const float distance = -b - sqrtf(square);
        if (distance > 1e-3f && distance < hit.distance) {
            const Vector normal = unit(to + distance * direction);
            hit = {distance, sphere.shade, sphere.mirror, normal};
        }
    }
    const float distance = direction.y < 0 ? -origin.y / direction.y : 1e30f;
    if (distance > 1e-3f && distance < hit.distance) {
        const Vector at = origin + distance * direction;
        const bool is_dark = (static_cast<int>(floorf(at.x)) + static_cast<int>(floorf(at.z))) & 1;
        hit = {distance, is_dark ? 0.2f : 0.8f, 0, {0, 1, 0}};
    }
    return hit;
}

__host__ __device__ float pixel(int x, int y) {
    Vector origin = {0, 1.2f, -1};
    Vector direction = unit({(x + 0.5f) / WIDTH * 2 - 1, 0.6f - (y + 0.5f) / HEIGHT * 1.5f, 1.8f});
    const Vector light = unit({-0.6f, 1, -0.5f});
    float value = 0, weight = 1;
    for (int bounce = 0; bounce < BOUNCES; ++bounce) {
        const Hit hit = trace(origin, direction);
        if (hit.distance >= 1e29f) {
            value += weight * (0.4f + 0.4f * direction.y);
            break;
        }
        origin = origin + hit.distance * direction;
        const bool is_shadow = trace(origin, light).distance < 1e29f;
        const float lit = is_shadow ? 0 : fmaxf(0.0f, dot(hit.normal, light));
        value += weight * (1 - hit.mirror) * hit.shade * (0.2f + 0.8f * lit);
        weight *= hit.mirror;
        if (weight == 0) {
            break;
        }
        direction = direction - 2 * dot(direction, hit.normal) * hit.normal;
    }
    return value;
}

__global__ void render(float *image) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    image[y * WIDTH + x] = pixel(x, y);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "A ray tracer.");
    std::vector<float> image(WIDTH * HEIGHT);
    float *device;
    const size_t bytes = image.size() * sizeof(float);
    CHECK(cudaMalloc(&device, bytes));
    CHECK(cudaMemcpyToSymbol(device_spheres, host_spheres, sizeof host_spheres));
    render<<<dim3(WIDTH / 16, HEIGHT / 8), dim3(16, 8)>>>(device);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(image.data(), device, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device));
    // The last bits may differ, and with them a few pixels at edges.
    int different = 0;
    for (int i = 0; i < WIDTH * HEIGHT; ++i) {
        different += std::fabs(image[i] - pixel(i % WIDTH, i / WIDTH)) > 0.01f;
    }
    for (int y = 4; y < HEIGHT; y += 4) {
        for (int x = 0; x < WIDTH; x += 2) {
            const int shade = static_cast<int>(image[y * WIDTH + x] * 4.2f);
            std::putchar(" .:oO#"[shade < 0 ? 0 : shade > 5 ? 5 : shade]);
        }
        std::putchar('\n');
    }
    std::fprintf(stderr, "%d pixels differ from the CPU's\n", different);
    return report("ray_tracer", different < WIDTH * HEIGHT / 200);
}
