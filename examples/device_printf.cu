// SPDX-License-Identifier: Apache-2.0
//
// A kernel that prints.
//
// The lines are kept in a buffer on the device and appear on the program's standard output when
// it synchronizes. To check them, this program catches its own standard output in a file.

#include "check.h"

#include <string>
#include <unistd.h>

constexpr int THREADS = 4;

// Each format is written once, for the device and for the host that prints what to expect.
#define INTEGERS "integers: %d %i %u %x %08X %+d %lld %llu %c\n"
#define INTEGER_VALUES                                                                             \
    -42, 7, 4000000000u, 48879, 48879, 5, -1234567890123456789ll, 18446744073709551615ull, 'Q'
#define FLOATS "floats: %f %.3f %8.2f| %-8.1f| %e %g\n"
#define FLOAT_VALUES 0.5, 2.0 / 3.0, -3.14159, 2.25, 12345.678, 0.0001
#define TEXTS "texts: %s and %10s and %-6s| %d%%\n"
#define TEXT_VALUES "one", "right", "left", 100

__global__ void take_turns(int *returned) {
    for (int turn = 0; turn < THREADS; ++turn) {
        if (static_cast<int>(threadIdx.x) == turn) {
            returned[turn] = printf("thread %d of %d\n", turn, THREADS);
        }
        __syncthreads();
    }
}

__global__ void print_formats(int *returned) {
    returned[0] = printf("no arguments\n");
    returned[1] = printf(INTEGERS, INTEGER_VALUES);
    returned[2] = printf(FLOATS, FLOAT_VALUES);
    returned[3] = printf(TEXTS, TEXT_VALUES);
}

// What the kernels shall have printed.
static std::string expected_text() {
    std::string text;
    char line[256];
    for (int turn = 0; turn < THREADS; ++turn) {
        std::snprintf(line, sizeof(line), "thread %d of %d\n", turn, THREADS);
        text += line;
    }
    text += "no arguments\n";
    std::snprintf(line, sizeof(line), INTEGERS, INTEGER_VALUES);
    text += line;
    std::snprintf(line, sizeof(line), FLOATS, FLOAT_VALUES);
    text += line;
    std::snprintf(line, sizeof(line), TEXTS, TEXT_VALUES);
    text += line;
    return text;
}

// The device's printf returns the number of arguments after the format, unlike the host's.
static bool returned_argument_counts(const int *device_returned, const int (&expected)[4]) {
    int returned[4] = {};
    CHECK(cudaMemcpy(returned, device_returned, sizeof(returned), cudaMemcpyDeviceToHost));
    return std::memcmp(returned, expected, sizeof(returned)) == 0;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Prints from a kernel.");
    int *returned = nullptr;
    CHECK(cudaMalloc(&returned, 4 * sizeof(int)));

    std::FILE *const file = std::tmpfile();
    if (file == nullptr) {
        std::perror("temporary file");
        return 1;
    }
    std::fflush(stdout);
    const int real_stdout = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);

    take_turns<<<1, THREADS>>>(returned);
    const cudaError_t first_launch = cudaGetLastError();
    const cudaError_t first = cudaDeviceSynchronize();
    const bool counts_turns =
        first == cudaSuccess && returned_argument_counts(returned, {2, 2, 2, 2});
    print_formats<<<1, 1>>>(returned);
    const cudaError_t second_launch = cudaGetLastError();
    const cudaError_t second = cudaDeviceSynchronize();
    const bool counts_formats =
        second == cudaSuccess && returned_argument_counts(returned, {0, 9, 6, 4});

    std::fflush(stdout);
    dup2(real_stdout, STDOUT_FILENO);
    close(real_stdout);
    for (const cudaError_t status : {first_launch, first, second_launch, second}) {
        CHECK(status);
    }
    CHECK(cudaFree(returned));

    std::string printed;
    std::rewind(file);
    for (int letter = std::fgetc(file); letter != EOF; letter = std::fgetc(file)) {
        printed.push_back(static_cast<char>(letter));
    }
    std::fclose(file);

    std::printf("%s", printed.c_str());
    const bool right = printed == expected_text();
    if (!right) {
        std::printf("but this was expected:\n%s", expected_text().c_str());
    }
    if (!counts_turns || !counts_formats) {
        std::printf("printf did not return the number of its arguments\n");
    }
    return report("device_printf", right && counts_turns && counts_formats);
}
