// Copyright 2026 The lrn_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// lrn_ros/inference/stages.cu on the CPU: what is a thread's own on a GPU are variables here, and a
// launch is a loop over them. Compiled with -D SOURCE='"…/stages.cu"'.
#include <cmath>
#include <cstring>
#include <utility>

#define __global__
#define __device__
struct Place { int x, y, z; };
static thread_local Place blockIdx, blockDim, threadIdx;
#include SOURCE

template <class... Types, std::size_t... Number>
static void call(void (*kernel)(Types...), void** values, std::index_sequence<Number...>) {
    kernel(*static_cast<Types*>(values[Number])...);
}

template <class... Types>
static void launch(void (*kernel)(Types...), const int* grid, const int* block, void** values) {
    blockDim = {block[0], block[1], block[2]};
    for (blockIdx.z = 0; blockIdx.z < grid[2]; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x)
                for (threadIdx.y = 0; threadIdx.y < block[1]; ++threadIdx.y)
                    for (threadIdx.x = 0; threadIdx.x < block[0]; ++threadIdx.x)
                        call(kernel, values, std::index_sequence_for<Types...>());
}

// 0, or 1 where there is no such kernel, 2 where the number of arguments is another.
extern "C" int run(const char* name, const int* grid, const int* block, void** values, int count) {
    if (!std::strcmp(name, "make_images")) {
        if (count != 16) return 2;
        launch(make_images, grid, block, values);
    } else if (!std::strcmp(name, "make_masks")) {
        if (count != 18) return 2;
        launch(make_masks, grid, block, values);
    } else {
        return 1;
    }
    return 0;
}
