// SPDX-License-Identifier: Apache-2.0
//
// Events between processes: kernels of two processes take turns on the same memory, in an order
// that only events make, while no process waits for its own kernels.

#include "check.h"
#include "processes.h"

#include <vector>

constexpr int COUNT = 1 << 16;
constexpr int ROUNDS = 8;

struct Task {
    cudaIpcMemHandle_t memory;
    cudaIpcEventHandle_t first_is_done;
    cudaIpcEventHandle_t second_is_done;
};

// Slow, so that who does not wait reads too early.
__global__ void step(int *values, int expected, int next, int *wrong, long long ticks) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const long long start = clock64();
    while (clock64() - start < ticks) {
    }
    if (values[i] != expected) {
        atomicAdd(wrong, 1);
    }
    values[i] = next;
}

// One side of the game: waits for the other's event, makes a step, records its own.
class Player {
public:
    Player(int *values, cudaEvent_t others, cudaEvent_t own)
        : values_(values), others_(others), own_(own) {
        CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
        CHECK(cudaMalloc(&wrong_, sizeof *wrong_));
        CHECK(cudaMemset(wrong_, 0, sizeof *wrong_));
        CHECK(cudaDeviceSynchronize());
    }

    void play(int expected) {
        CHECK(cudaStreamWaitEvent(stream_, others_, 0));
        step<<<COUNT / 256, 256, 0, stream_>>>(values_, expected, expected + 1, wrong_, 20000);
        CHECK_LAUNCH();
        CHECK(cudaEventRecord(own_, stream_));
    }

    int end() {
        int wrong = -1;
        CHECK(cudaStreamSynchronize(stream_));
        CHECK(cudaMemcpy(&wrong, wrong_, sizeof wrong, cudaMemcpyDeviceToHost));
        CHECK(cudaFree(wrong_));
        CHECK(cudaStreamDestroy(stream_));
        return wrong;
    }

private:
    int *values_;
    cudaEvent_t others_;
    cudaEvent_t own_;
    cudaStream_t stream_ = nullptr;
    int *wrong_ = nullptr;
};

static void second(int socket) {
    const Task task = hear<Task>(socket);
    void *opened = nullptr;
    CHECK(cudaIpcOpenMemHandle(&opened, task.memory, cudaIpcMemLazyEnablePeerAccess));
    cudaEvent_t others;
    cudaEvent_t own;
    CHECK(cudaIpcOpenEventHandle(&others, task.first_is_done));
    CHECK(cudaIpcOpenEventHandle(&own, task.second_is_done));
    Player player(static_cast<int *>(opened), others, own);
    for (int round = 0; round < ROUNDS; round++) {
        // The record that this one waits for has been made, but not reached.
        hear<int>(socket);
        player.play(2 * round + 1);
        tell(socket, round);
    }
    tell(socket, player.end());
    CHECK(cudaEventDestroy(others));
    CHECK(cudaEventDestroy(own));
    CHECK(cudaIpcCloseMemHandle(opened));
}

static bool expect(const char *what, bool is_so) {
    std::printf("  %s: %s\n", what, is_so ? "yes" : "NO");
    return is_so;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Orders kernels of two processes by events.");
    Process other = start_process(second);

    int *values = nullptr;
    CHECK(cudaMalloc(&values, COUNT * sizeof(int)));
    CHECK(cudaMemset(values, 0, COUNT * sizeof(int)));
    CHECK(cudaDeviceSynchronize());
    const unsigned flags = cudaEventInterprocess | cudaEventDisableTiming;
    cudaEvent_t own;
    cudaEvent_t others;
    CHECK(cudaEventCreateWithFlags(&own, flags));
    CHECK(cudaEventCreateWithFlags(&others, flags));
    Task task = {};
    CHECK(cudaIpcGetMemHandle(&task.memory, values));
    CHECK(cudaIpcGetEventHandle(&task.first_is_done, own));
    CHECK(cudaIpcGetEventHandle(&task.second_is_done, others));

    bool right = true;
    right &= expect("not recorded, so complete", cudaEventQuery(own) == cudaSuccess);
    cudaEvent_t timed;
    right &= expect("with timing there is none",
                    cudaEventCreateWithFlags(&timed, cudaEventInterprocess) != cudaSuccess);
    cudaEvent_t plain;
    cudaIpcEventHandle_t none;
    CHECK(cudaEventCreateWithFlags(&plain, cudaEventDisableTiming));
    right &= expect("an event of one process has no handle",
                    cudaIpcGetEventHandle(&none, plain) != cudaSuccess);
    CHECK(cudaEventDestroy(plain));
    cudaGetLastError();

    Player player(values, others, own);
    tell(other.socket, task);
    for (int round = 0; round < ROUNDS; round++) {
        player.play(2 * round);
        tell(other.socket, round);
        hear<int>(other.socket);
    }
    CHECK(cudaEventSynchronize(others));
    right &= expect("complete at the end", cudaEventQuery(others) == cudaSuccess);

    const int wrong_here = player.end();
    const int wrong_there = hear<int>(other.socket);
    std::printf("values read too early: %d here, %d there\n", wrong_here, wrong_there);
    right &= wrong_here == 0 && wrong_there == 0;
    std::vector<int> host(COUNT);
    CHECK(cudaMemcpy(host.data(), values, COUNT * sizeof(int), cudaMemcpyDeviceToHost));
    int wrong = 0;
    for (int value : host) {
        wrong += value != 2 * ROUNDS;
    }
    std::printf("after %d steps: %d wrong values\n", 2 * ROUNDS, wrong);
    right &= wrong == 0;
    right &= expect("the other ends well", other.ends_well());
    CHECK(cudaEventDestroy(own));
    CHECK(cudaEventDestroy(others));
    CHECK(cudaFree(values));
    return report("ipc_event", right);
}
