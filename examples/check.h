// SPDX-License-Identifier: Apache-2.0
//
// What the examples share: error checks, the size argument and the last line.

#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

// Ends the program, with the error's name and place, unless the call succeeded.
#define CHECK(call) check((call), #call, __FILE__, __LINE__)

// `kernel<<<…>>>()` has no return value: what was wrong with a launch is asked for afterwards.
#define CHECK_LAUNCH() check(cudaGetLastError(), "kernel launch", __FILE__, __LINE__)

inline void check(cudaError_t status, const char *call, const char *file, int line) {
    if (status == cudaSuccess) {
        return;
    }
    std::fprintf(stderr, "%s:%d: %s: %s (%d), %s\n", file, line, call, cudaGetErrorName(status),
                 static_cast<int>(status), cudaGetErrorString(status));
    std::exit(1);
}

// Answers `--help`, and refuses an argument where none is taken.
inline void no_arguments(int argc, char **argv, const char *purpose) {
    if (argc == 1) {
        return;
    }
    const bool help = argc == 2 && std::strcmp(argv[1], "--help") == 0;
    std::fprintf(help ? stdout : stderr, "%s\nusage: %s\n", purpose, argv[0]);
    std::exit(help ? 0 : 2);
}

// The one optional argument: a size from 1 to `largest`. Answers `--help` too.
inline int size_argument(int argc, char **argv, const char *purpose, const char *unit,
                         int usual, int largest) {
    if (argc == 1) {
        return usual;
    }
    const bool help = argc == 2 && std::strcmp(argv[1], "--help") == 0;
    char *rest = nullptr;
    const long long size = std::strtoll(argv[1], &rest, 10);
    if (!help && argc == 2 && rest != argv[1] && *rest == '\0' && size >= 1 && size <= largest) {
        return static_cast<int>(size);
    }
    std::fprintf(help ? stdout : stderr, "%s\nusage: %s [%s]   1 to %d, usually %d\n", purpose,
                 argv[0], unit, largest, usual);
    std::exit(help ? 0 : 2);
}

// Prints the last line and gives the program's exit status: 0 when everything was right.
inline int report(const char *example, bool right) {
    std::printf("%s %s\n", right ? "ok" : "WRONG RESULT", example);
    return right ? 0 : 1;
}
