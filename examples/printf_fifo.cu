// SPDX-License-Identifier: Apache-2.0
//
// The buffer of device printf: it has the size that was set before the first kernel that prints;
// what does not fit overwrites what came first; and it is shown when the program waits, not before.

#include "check.h"

#include <cstring>
#include <string>

#include <unistd.h>

__global__ void count(int lines) {
    for (int i = 0; i < lines; ++i) {
        printf("line %d of %d\n", i, lines);
    }
}

// What appears on standard output meanwhile.
class Captured {
public:
    Captured() {
        std::fflush(stdout);
        before = dup(STDOUT_FILENO);
        file = std::tmpfile();
        if (before < 0 || file == nullptr || dup2(fileno(file), STDOUT_FILENO) < 0) {
            std::fprintf(stderr, "cannot redirect standard output\n");
            std::exit(1);
        }
    }

    std::string so_far() {
        std::fflush(stdout);
        std::string text;
        char part[4096];
        std::rewind(file);
        for (size_t read; (read = std::fread(part, 1, sizeof part, file)) > 0;) {
            text.append(part, read);
        }
        return text;
    }

    ~Captured() {
        std::fflush(stdout);
        dup2(before, STDOUT_FILENO);
        close(before);
        std::fclose(file);
    }

private:
    int before;
    FILE *file;
};

static bool tell(const char *what, bool right) {
    std::printf("%s: %s\n", what, right ? "yes" : "no");
    return right;
}

// Whether a text consists of the last lines that `count` prints; answers how many there are.
static bool are_last_lines(const std::string &text, int lines, int &found) {
    found = 0;
    size_t end = text.size();
    while (end > 0) {
        const size_t start = end < 2 ? 0 : text.rfind('\n', end - 2) + 1;
        char expected[64];
        std::snprintf(expected, sizeof expected, "line %d of %d\n", lines - 1 - found, lines);
        if (text.compare(start, end - start, expected) != 0) {
            return false;
        }
        ++found;
        end = start;
    }
    return true;
}

static std::string output_of(int lines, bool &is_shown_early) {
    Captured captured;
    count<<<1, 1>>>(lines);
    // Waits for the kernel without being one of the calls that show what it printed.
    while (cudaStreamQuery(nullptr) == cudaErrorNotReady) {
    }
    is_shown_early = !captured.so_far().empty();
    CHECK(cudaDeviceSynchronize());
    return captured.so_far();
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "The buffer of device printf.");
    size_t size = 0;
    CHECK(cudaDeviceSetLimit(cudaLimitPrintfFifoSize, 1 << 20));
    CHECK(cudaDeviceGetLimit(&size, cudaLimitPrintfFifoSize));
    bool right = tell("the buffer has at least the size that was set", size >= 1 << 20);

    bool is_shown_early = false;
    int found = 0;
    std::string text = output_of(1000, is_shown_early);
    right = tell("what fits comes whole", are_last_lines(text, 1000, found) && found == 1000) &&
            right;

    // Each line takes at least its two numbers and the address of its text.
    const int many = static_cast<int>(size / 8);
    text = output_of(many, is_shown_early);
    const bool are_last = are_last_lines(text, many, found);
    std::fprintf(stderr, "%d of %d lines are left\n", found, many);
    right = tell("of what does not fit the last lines are left", are_last && found > 0) && right;
    right = tell("and the first ones are not", found < many) && right;

    text = output_of(1000, is_shown_early);
    right = tell("then the buffer is empty again",
                 are_last_lines(text, 1000, found) && found == 1000) && right;
    right = tell("its size is fixed once a kernel has printed",
                 cudaDeviceSetLimit(cudaLimitPrintfFifoSize, 2 << 20) == cudaErrorInvalidValue) &&
            right;
    cudaGetLastError();
    return report("printf_fifo", right);
}
