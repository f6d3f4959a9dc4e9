// SPDX-License-Identifier: Apache-2.0
//
// What the examples with textures and surfaces share.

#pragma once

#include "check.h"

// How a texture is read: all dimensions have the same address mode.
inline cudaTextureDesc texture_description(cudaTextureAddressMode address,
                                           cudaTextureFilterMode filter,
                                           cudaTextureReadMode read, bool normalized) {
    cudaTextureDesc description = {};
    description.addressMode[0] = description.addressMode[1] = description.addressMode[2] = address;
    description.filterMode = filter;
    description.readMode = read;
    description.normalizedCoords = normalized;
    return description;
}

inline cudaResourceDesc array_resource(cudaArray_t array) {
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = array;
    return resource;
}

inline cudaTextureObject_t texture_of(cudaArray_t array, const cudaTextureDesc &description) {
    const cudaResourceDesc resource = array_resource(array);
    cudaTextureObject_t texture = 0;
    CHECK(cudaCreateTextureObject(&texture, &resource, &description, nullptr));
    return texture;
}

inline cudaSurfaceObject_t surface_of(cudaArray_t array) {
    const cudaResourceDesc resource = array_resource(array);
    cudaSurfaceObject_t surface = 0;
    CHECK(cudaCreateSurfaceObject(&surface, &resource));
    return surface;
}

// Copies `extent` texels without gaps from the host into an array, layers and faces as slices.
inline void fill_array(cudaArray_t array, const void *texels, size_t texel_bytes,
                       cudaExtent extent) {
    cudaMemcpy3DParms copy = {};
    copy.srcPtr = make_cudaPitchedPtr(const_cast<void *>(texels), extent.width * texel_bytes,
                                      extent.width, extent.height > 0 ? extent.height : 1);
    copy.dstArray = array;
    copy.extent = make_cudaExtent(extent.width, extent.height > 0 ? extent.height : 1,
                                  extent.depth > 0 ? extent.depth : 1);
    copy.kind = cudaMemcpyHostToDevice;
    CHECK(cudaMemcpy3D(&copy));
}

// Copies an array back, as fill_array filled it.
inline void read_array(cudaArray_t array, void *texels, size_t texel_bytes, cudaExtent extent) {
    cudaMemcpy3DParms copy = {};
    copy.srcArray = array;
    copy.dstPtr = make_cudaPitchedPtr(texels, extent.width * texel_bytes, extent.width,
                                      extent.height > 0 ? extent.height : 1);
    copy.extent = make_cudaExtent(extent.width, extent.height > 0 ? extent.height : 1,
                                  extent.depth > 0 ? extent.depth : 1);
    copy.kind = cudaMemcpyDeviceToHost;
    CHECK(cudaMemcpy3D(&copy));
}
