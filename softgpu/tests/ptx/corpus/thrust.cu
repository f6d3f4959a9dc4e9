// SPDX-License-Identifier: Apache-2.0
#include <thrust/unique.h>
#include <thrust/device_vector.h>
#include <thrust/sort.h>
#include <thrust/reduce.h>
#include <thrust/transform_reduce.h>
#include <thrust/scan.h>
#include <thrust/copy.h>
int main() {
    thrust::device_vector<float> v(100,1.f);
    thrust::sort(v.begin(),v.end());
    float s=thrust::reduce(v.begin(),v.end());
    thrust::inclusive_scan(v.begin(),v.end(),v.begin());
    thrust::stable_sort_by_key(v.begin(),v.end(),v.begin());
    return (int)s+thrust::unique(v.begin(),v.end())-v.begin();
}
