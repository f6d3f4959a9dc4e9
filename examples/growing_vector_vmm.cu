// SPDX-License-Identifier: Apache-2.0
//
// A vector on the device that grows without copying: behind its end more memory is mapped. Where
// the addresses behind it are taken, the memory moves to other addresses, and still nobody copies.

#include "driver.h"

#include <vector>

DRIVER_FUNCTION(cuMemAddressReserve, 10020);
DRIVER_FUNCTION(cuMemAddressFree, 10020);
DRIVER_FUNCTION(cuMemCreate, 10020);
DRIVER_FUNCTION(cuMemRelease, 10020);
DRIVER_FUNCTION(cuMemMap, 10020);
DRIVER_FUNCTION(cuMemUnmap, 10020);
DRIVER_FUNCTION(cuMemSetAccess, 10020);
DRIVER_FUNCTION(cuMemGetAllocationGranularity, 10020);

__global__ void append(unsigned *words, size_t from, size_t to) {
    const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t i = from + blockIdx.x * blockDim.x + threadIdx.x; i < to; i += step) {
        words[i] = static_cast<unsigned>(i * 2654435761u);
    }
}

__global__ void count_wrong(const unsigned *words, size_t count, unsigned *wrong) {
    const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        if (words[i] != static_cast<unsigned>(i * 2654435761u)) {
            atomicAdd(wrong, 1);
        }
    }
}

class Vector {
public:
    Vector() {
        properties_.type = CU_MEM_ALLOCATION_TYPE_PINNED;
        properties_.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
        properties_.location.id = 0;
        access_.location = properties_.location;
        access_.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
        CHECK_DRIVER(driver::cuMemGetAllocationGranularity(&granularity_, &properties_,
                                                           CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    }

    ~Vector() {
        if (capacity_ > 0) {
            CHECK_DRIVER(driver::cuMemUnmap(base_, capacity_));
        }
        for (const Piece &piece : pieces_) {
            CHECK_DRIVER(driver::cuMemRelease(piece.handle));
        }
        release_addresses();
    }

    // Room for so many bytes.
    void reserve(size_t bytes) {
        if (bytes <= capacity_) {
            return;
        }
        const size_t more = round_up(bytes - capacity_);
        if (capacity_ + more > reserved_) {
            find_addresses(capacity_ + more);
        }
        Piece piece = {0, more};
        CHECK_DRIVER(driver::cuMemCreate(&piece.handle, more, &properties_, 0));
        CHECK_DRIVER(driver::cuMemMap(base_ + capacity_, more, 0, piece.handle, 0));
        CHECK_DRIVER(driver::cuMemSetAccess(base_ + capacity_, more, &access_, 1));
        pieces_.push_back(piece);
        capacity_ += more;
    }

    unsigned *words() const { return reinterpret_cast<unsigned *>(base_); }
    size_t capacity() const { return capacity_; }
    size_t pieces() const { return pieces_.size(); }
    size_t granularity() const { return granularity_; }

private:
    struct Piece {
        CUmemGenericAllocationHandle handle;
        size_t bytes;
    };
    struct Range {
        CUdeviceptr base;
        size_t bytes;
    };

    size_t round_up(size_t bytes) const {
        return (bytes + granularity_ - 1) / granularity_ * granularity_;
    }

    // Addresses behind the present ones if they are free, otherwise all at another place.
    void find_addresses(size_t bytes) {
        const size_t more = bytes - reserved_;
        CUdeviceptr found = 0;
        CHECK_DRIVER(driver::cuMemAddressReserve(&found, more, 0, base_ + reserved_, 0));
        if (reserved_ > 0 && found == base_ + reserved_) {
            ranges_.push_back({found, more});
            reserved_ += more;
            return;
        }
        if (reserved_ > 0) {
            CHECK_DRIVER(driver::cuMemAddressFree(found, more));
            CHECK_DRIVER(driver::cuMemAddressReserve(&found, bytes, 0, 0, 0));
            CHECK(cudaDeviceSynchronize());
            CHECK_DRIVER(driver::cuMemUnmap(base_, capacity_));
            size_t at = 0;
            for (const Piece &piece : pieces_) {
                CHECK_DRIVER(driver::cuMemMap(found + at, piece.bytes, 0, piece.handle, 0));
                at += piece.bytes;
            }
            CHECK_DRIVER(driver::cuMemSetAccess(found, capacity_, &access_, 1));
            release_addresses();
        }
        ranges_.assign(1, {found, bytes});
        base_ = found;
        reserved_ = bytes;
    }

    void release_addresses() {
        for (const Range &range : ranges_) {
            CHECK_DRIVER(driver::cuMemAddressFree(range.base, range.bytes));
        }
        ranges_.clear();
    }

    CUmemAllocationProp properties_ = {};
    CUmemAccessDesc access_ = {};
    size_t granularity_ = 0;
    CUdeviceptr base_ = 0;
    size_t reserved_ = 0;
    size_t capacity_ = 0;
    std::vector<Piece> pieces_;
    std::vector<Range> ranges_;
};

int main(int argc, char **argv) {
    no_arguments(argc, argv, "Lets a vector on the device grow without copying it.");
    CHECK(cudaFree(nullptr));
    unsigned *wrong = nullptr;
    CHECK(cudaMalloc(&wrong, sizeof *wrong));
    CHECK(cudaMemset(wrong, 0, sizeof *wrong));
    bool right = true;
    CUdeviceptr blocked = 0;
    {
        Vector vector;
        const size_t granularity = vector.granularity();
        size_t filled = 0;
        for (int round = 1; round <= 5; round++) {
            const size_t bytes = round * granularity * 3 / 2;
            vector.reserve(bytes);
            const size_t count = bytes / sizeof(unsigned);
            append<<<8, 256>>>(vector.words(), filled, count);
            CHECK_LAUNCH();
            count_wrong<<<8, 256>>>(vector.words(), count, wrong);
            CHECK_LAUNCH();
            CHECK(cudaDeviceSynchronize());
            filled = count;
            const bool is_enough = vector.capacity() >= bytes &&
                                   vector.capacity() < bytes + granularity;
            right &= is_enough;
            std::printf("round %d: %zu pieces, room %s\n", round, vector.pieces(),
                        is_enough ? "as needed" : "WRONG");
            if (round == 3) {
                // From here on it cannot grow in place.
                const auto end = reinterpret_cast<CUdeviceptr>(vector.words()) + vector.capacity();
                CHECK_DRIVER(driver::cuMemAddressReserve(&blocked, granularity, 0, end, 0));
            }
        }
        std::vector<unsigned> host(filled);
        CHECK(cudaMemcpy(host.data(), vector.words(), filled * sizeof(unsigned),
                         cudaMemcpyDeviceToHost));
        size_t differing = 0;
        for (size_t i = 0; i < filled; i++) {
            differing += host[i] != static_cast<unsigned>(i * 2654435761u);
        }
        std::printf("elements that differ on the host: %zu\n", differing);
        right &= differing == 0;
        CHECK_DRIVER(driver::cuMemAddressFree(blocked, granularity));
    }
    unsigned wrong_on_device = 0;
    CHECK(cudaMemcpy(&wrong_on_device, wrong, sizeof wrong_on_device, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(wrong));
    std::printf("elements that differ on the device: %u\n", wrong_on_device);
    return report("growing_vector_vmm", right && wrong_on_device == 0);
}
