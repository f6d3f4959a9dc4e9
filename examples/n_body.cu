// SPDX-License-Identifier: Apache-2.0
//
// Stars that attract each other: every body feels the gravity of every other one.
//
// A block loads a tile of bodies into shared memory, and each of its threads adds up their pull
// on its own body. Float arithmetic, with the device's fast reciprocal square root.

#include "check.h"

#include <algorithm>
#include <cmath>
#include <vector>

constexpr int THREADS = 128;
constexpr int STEPS = 4;
constexpr float STEP_TIME = 0.05f;
// Keeps the force finite when two bodies meet.
constexpr float SOFTENING_SQUARED = 0.01f;
// Positions are about 1. Rounding differs between a CPU and a GPU in the seventh digit.
constexpr double TOLERANCE = 1e-5;

// x, y and z of a position, with the body's mass in w.
__global__ void accelerate(const float4 *positions, float4 *velocities, int count) {
    __shared__ float4 tile[THREADS];
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const float4 own = i < count ? positions[i] : make_float4(0, 0, 0, 0);

    float3 pull = make_float3(0, 0, 0);
    for (int start = 0; start < count; start += THREADS) {
        const int other = start + threadIdx.x;
        // A body without mass does not attract.
        tile[threadIdx.x] = other < count ? positions[other] : make_float4(0, 0, 0, 0);
        __syncthreads();
        for (int k = 0; k < THREADS; ++k) {
            const float x = tile[k].x - own.x;
            const float y = tile[k].y - own.y;
            const float z = tile[k].z - own.z;
            const float inverse = rsqrtf(x * x + y * y + z * z + SOFTENING_SQUARED);
            const float strength = tile[k].w * inverse * inverse * inverse;
            pull.x += x * strength;
            pull.y += y * strength;
            pull.z += z * strength;
        }
        __syncthreads();
    }
    if (i < count) {
        velocities[i].x += pull.x * STEP_TIME;
        velocities[i].y += pull.y * STEP_TIME;
        velocities[i].z += pull.z * STEP_TIME;
    }
}

__global__ void move(float4 *positions, const float4 *velocities, int count) {
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < count) {
        positions[i].x += velocities[i].x * STEP_TIME;
        positions[i].y += velocities[i].y * STEP_TIME;
        positions[i].z += velocities[i].z * STEP_TIME;
    }
}

// A ball of bodies at rest, of total mass 1.
static std::vector<float4> ball(int count) {
    std::vector<float4> positions;
    unsigned random = 1;
    const auto coordinate = [&random] {
        random = random * 1664525u + 1013904223u;
        return static_cast<float>(random >> 8) / 8388608.0f - 1.0f;
    };
    while (static_cast<int>(positions.size()) < count) {
        const float x = coordinate(), y = coordinate(), z = coordinate();
        if (x * x + y * y + z * z <= 1.0f) {
            positions.push_back(make_float4(x, y, z, 1.0f / static_cast<float>(count)));
        }
    }
    return positions;
}

struct Body {
    double x, y, z, mass, velocity_x, velocity_y, velocity_z;
};

// The same in double precision.
static std::vector<Body> simulate_on_cpu(const std::vector<float4> &positions) {
    std::vector<Body> bodies;
    for (const float4 &p : positions) {
        bodies.push_back({p.x, p.y, p.z, p.w, 0, 0, 0});
    }
    for (int step = 0; step < STEPS; ++step) {
        for (Body &own : bodies) {
            for (const Body &other : bodies) {
                const double x = other.x - own.x, y = other.y - own.y, z = other.z - own.z;
                const double squared = x * x + y * y + z * z + SOFTENING_SQUARED;
                const double strength = other.mass / (squared * std::sqrt(squared));
                own.velocity_x += x * strength * STEP_TIME;
                own.velocity_y += y * strength * STEP_TIME;
                own.velocity_z += z * strength * STEP_TIME;
            }
        }
        for (Body &own : bodies) {
            own.x += own.velocity_x * STEP_TIME;
            own.y += own.velocity_y * STEP_TIME;
            own.z += own.velocity_z * STEP_TIME;
        }
    }
    return bodies;
}

int main(int argc, char **argv) {
    const int count =
        size_argument(argc, argv, "Simulates gravity.", "bodies", 1000, 1 << 15);
    const size_t bytes = count * sizeof(float4);

    std::vector<float4> positions = ball(count);
    const std::vector<Body> expected = simulate_on_cpu(positions);

    float4 *device_positions = nullptr, *device_velocities = nullptr;
    CHECK(cudaMalloc(&device_positions, bytes));
    CHECK(cudaMalloc(&device_velocities, bytes));
    CHECK(cudaMemcpy(device_positions, positions.data(), bytes, cudaMemcpyHostToDevice));
    CHECK(cudaMemset(device_velocities, 0, bytes));
    const int blocks = (count + THREADS - 1) / THREADS;
    for (int step = 0; step < STEPS; ++step) {
        accelerate<<<blocks, THREADS>>>(device_positions, device_velocities, count);
        move<<<blocks, THREADS>>>(device_positions, device_velocities, count);
        CHECK_LAUNCH();
    }
    std::vector<float4> velocities(count);
    CHECK(cudaMemcpy(positions.data(), device_positions, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(velocities.data(), device_velocities, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_positions));
    CHECK(cudaFree(device_velocities));

    int wrong = 0;
    double momentum_x = 0, momentum_y = 0, momentum_z = 0;
    for (int i = 0; i < count; ++i) {
        const double error = std::max({std::fabs(positions[i].x - expected[i].x),
                                       std::fabs(positions[i].y - expected[i].y),
                                       std::fabs(positions[i].z - expected[i].z)});
        const double sum = positions[i].x + positions[i].y + positions[i].z;
        // Written so that a NaN counts as wrong; std::max alone could lose one.
        wrong += !(error <= TOLERANCE) || !std::isfinite(sum);
        momentum_x += positions[i].w * velocities[i].x;
        momentum_y += positions[i].w * velocities[i].y;
        momentum_z += positions[i].w * velocities[i].z;
    }
    const double momentum = std::hypot(std::hypot(momentum_x, momentum_y), momentum_z);
    const bool is_at_rest = momentum <= TOLERANCE;

    std::printf("%d bodies, %d steps\n", count, STEPS);
    std::printf("bodies farther than %g from where the CPU sees them: %d\n", TOLERANCE, wrong);
    std::printf("the ball as a whole %s\n", is_at_rest ? "stays at rest" : "moves");
    return report("n_body", wrong == 0 && is_at_rest);
}
