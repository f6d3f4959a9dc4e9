// SPDX-License-Identifier: Apache-2.0
//
// A kernel that stays: its blocks take tasks from a queue on the device as long as there are any,
// and tasks make new tasks (adaptive integration).

#include "check.h"

#include <cmath>

constexpr int CAPACITY = 1 << 14;
constexpr int BLOCKS = 8;

struct Task {
    double left, right;
};

struct Queue {
    Task tasks[CAPACITY];
    int ready[CAPACITY];
    int taken, added, open;
    double sum;
};

__device__ double function(double x) {
    return 4 / (1 + x * x);
}

__device__ double simpson(double left, double right) {
    const double middle = (left + right) / 2;
    return (right - left) / 6 * (function(left) + 4 * function(middle) + function(right));
}

__device__ void add_task(Queue *queue, double left, double right) {
    const int place = atomicAdd(&queue->added, 1);
    queue->tasks[place] = {left, right};
    __threadfence();
    atomicExch(&queue->ready[place], 1);
}

__global__ void serve(Queue *queue, double tolerance) {
    if (threadIdx.x != 0) {
        return;
    }
    for (;;) {
        const int place = atomicAdd(&queue->taken, 1);
        // Wait for the task, or for the end of all.
        while (place >= CAPACITY || atomicAdd(&queue->ready[place], 0) == 0) {
            if (atomicAdd(&queue->open, 0) == 0 || place >= CAPACITY) {
                return;
            }
        }
        __threadfence();
        const Task task = queue->tasks[place];
        const double middle = (task.left + task.right) / 2;
        const double whole = simpson(task.left, task.right);
        const double halves = simpson(task.left, middle) + simpson(middle, task.right);
        if (fabs(halves - whole) > tolerance * (task.right - task.left)) {
            atomicAdd(&queue->open, 2);
            add_task(queue, task.left, middle);
            add_task(queue, middle, task.right);
        } else {
            atomicAdd(&queue->sum, halves);
        }
        __threadfence();
        atomicSub(&queue->open, 1);
    }
}

__global__ void start(Queue *queue) {
    queue->open = 1;
    add_task(queue, 0, 1);
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "A kernel whose blocks take tasks from a queue.");
    Queue *queue;
    CHECK(cudaMalloc(&queue, sizeof(Queue)));
    CHECK(cudaMemset(queue, 0, sizeof(Queue)));
    start<<<1, 1>>>(queue);
    serve<<<BLOCKS, 32>>>(queue, 1e-11);
    CHECK_LAUNCH();
    int added = 0;
    double sum = 0;
    CHECK(cudaMemcpy(&added, &queue->added, sizeof added, cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(&sum, &queue->sum, sizeof sum, cudaMemcpyDeviceToHost));
    const bool right = std::fabs(sum - std::acos(-1.0)) < 1e-10;
    std::printf("%d tasks gave %.9f\n", added, sum);
    CHECK(cudaFree(queue));
    return report("persistent_kernel", right && added > 30);
}
