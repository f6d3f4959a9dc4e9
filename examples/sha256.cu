// SPDX-License-Identifier: Apache-2.0
//
// SHA-256 (FIPS 180-4) of many messages at once, and a search for a number whose hash begins with
// zeros.

#include "check.h"

#include <string>
#include <vector>

__constant__ unsigned ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

struct Hash {
    unsigned words[8];
};

__device__ unsigned rotate(unsigned value, int bits) {
    return __funnelshift_r(value, value, bits);
}

// Of a message of at most 55 bytes, which is one block.
__device__ Hash hash(const unsigned char *message, int length) {
    unsigned w[64];
    for (int i = 0; i < 16; ++i) {
        unsigned word = 0;
        for (int byte = 4 * i; byte < 4 * i + 4; ++byte) {
            word = word << 8 | (byte < length ? message[byte] : byte == length ? 0x80 : 0);
        }
        w[i] = word;
    }
    w[15] = 8 * length;
    for (int i = 16; i < 64; ++i) {
        const unsigned a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    Hash state = {{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
                   0x1f83d9ab, 0x5be0cd19}};
    unsigned v[8];
    for (int i = 0; i < 8; ++i) {
        v[i] = state.words[i];
    }
    for (int i = 0; i < 64; ++i) {
        const unsigned s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
        const unsigned choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
        const unsigned first = v[7] + s1 + choice + ROUND[i] + w[i];
        const unsigned s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
        const unsigned majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        for (int k = 7; k > 0; --k) {
            v[k] = v[k - 1];
        }
        v[4] += first;
        v[0] = first + s0 + majority;
    }
    for (int i = 0; i < 8; ++i) {
        state.words[i] += v[i];
    }
    return state;
}

__global__ void hash_all(const unsigned char *messages, const int *lengths, Hash *hashes,
                         int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        hashes[i] = hash(messages + 64 * i, lengths[i]);
    }
}

// The smallest number whose decimal digits have a hash that begins with `zeros` zero bits.
__global__ void search(int limit, int zeros, int *smallest) {
    const int number = blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= limit) {
        return;
    }
    unsigned char digits[12];
    int length = 0;
    for (int rest = number; rest > 0 || length == 0; rest /= 10) {
        ++length;
    }
    for (int i = length - 1, rest = number; i >= 0; --i, rest /= 10) {
        digits[i] = '0' + rest % 10;
    }
    if (__clz(hash(digits, length).words[0]) >= zeros) {
        atomicMin(smallest, number);
    }
}

static std::string hexadecimal(const Hash &hash) {
    char text[65];
    for (int i = 0; i < 8; ++i) {
        std::snprintf(text + 8 * i, 9, "%08x", hash.words[i]);
    }
    return text;
}

int main(int argc, char **argv) {
    no_arguments(argc, argv, "SHA-256.");
    const std::vector<std::string> messages = {"", "abc", "hello world"};
    const std::vector<std::string> expected = {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"};
    const int count = static_cast<int>(messages.size());
    std::vector<unsigned char> bytes(64 * count);
    std::vector<int> lengths;
    for (int i = 0; i < count; ++i) {
        std::memcpy(&bytes[64 * i], messages[i].data(), messages[i].size());
        lengths.push_back(static_cast<int>(messages[i].size()));
    }
    unsigned char *device_bytes;
    int *device_lengths, *smallest;
    Hash *device_hashes;
    std::vector<Hash> hashes(count);
    CHECK(cudaMalloc(&device_bytes, bytes.size()));
    CHECK(cudaMalloc(&device_lengths, count * sizeof(int)));
    CHECK(cudaMalloc(&device_hashes, count * sizeof(Hash)));
    CHECK(cudaMalloc(&smallest, sizeof(int)));
    CHECK(cudaMemcpy(device_bytes, bytes.data(), bytes.size(), cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(device_lengths, lengths.data(), count * sizeof(int), cudaMemcpyHostToDevice));
    hash_all<<<1, 32>>>(device_bytes, device_lengths, device_hashes, count);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(hashes.data(), device_hashes, count * sizeof(Hash), cudaMemcpyDeviceToHost));
    bool right = true;
    for (int i = 0; i < count; ++i) {
        std::printf("%s  \"%s\"\n", hexadecimal(hashes[i]).c_str(), messages[i].c_str());
        right = right && hexadecimal(hashes[i]) == expected[i];
    }
    int found = 1 << 30;
    CHECK(cudaMemcpy(smallest, &found, sizeof found, cudaMemcpyHostToDevice));
    search<<<32, 64>>>(2048, 9, smallest);
    CHECK_LAUNCH();
    CHECK(cudaMemcpy(&found, smallest, sizeof found, cudaMemcpyDeviceToHost));
    std::printf("the first number whose hash begins with 9 zero bits: %d\n", found);
    right = right && found == 286;
    CHECK(cudaFree(device_bytes));
    CHECK(cudaFree(device_lengths));
    CHECK(cudaFree(device_hashes));
    CHECK(cudaFree(smallest));
    return report("sha256", right);
}
