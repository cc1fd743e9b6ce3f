// Copyright 2026 The lrn_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// What surrounds a network on a GPU: frames to the network's input, its scores to masks.
//
// Compiled by lrn_ros.inference.device_code without contraction to fused multiply-adds: products and
// sums are rounded one by one, so results are those of lrn_ros.inference.preprocess and postprocess
// bit for bit. Every thread makes one pixel; the grid's z counts frames. The tests compile this
// file as C++ too, with blockIdx and threadIdx as loops.

typedef unsigned char byte;

// Weights of a resized axis: pixel i is made of entries first[i] to first[i + 1] - 1, each the
// index of a pixel of the frame and its weight.
struct Taps {
    const int* first;
    const int* index;
    const float* weight;
};

static __device__ byte rounded(float value) {
    float whole = rintf(value);  // halves to the even number
    return (byte)(whole < 0.0f ? 0.0f : whole > 255.0f ? 255.0f : whole);
}

// Mean of the frame's pixels that a pixel covers, weighted by the covered part of each.
static __device__ byte area_value(
    const byte* frame, Taps rows, Taps columns, int y, int x, int width, float scale, int halves_up) {
    float sum = 0.0f;
    for (int i = rows.first[y]; i < rows.first[y + 1]; ++i) {
        const byte* row = frame + (long long)rows.index[i] * width * 3;
        float line = 0.0f;
        for (int j = columns.first[x]; j < columns.first[x + 1]; ++j)
            line += (float)row[columns.index[j] * 3] * columns.weight[j];
        sum += rows.weight[i] * line;
    }
    return halves_up ? (byte)floorf(sum * scale + 0.5f) : rounded(sum * scale);
}

// Bilinear in whole numbers: weights are multiples of 1 / 2048, two entries a pixel.
static __device__ byte linear_value(
    const byte* frame, Taps rows, Taps columns, int y, int x, int width) {
    int i = rows.first[y], j = columns.first[x];
    int left = columns.index[j] * 3, right = columns.index[j + 1] * 3;
    int weight_left = (int)columns.weight[j], weight_right = (int)columns.weight[j + 1];
    int sum = 0;
    for (int k = i; k < i + 2; ++k) {
        const byte* row = frame + (long long)rows.index[k] * width * 3;
        int line = row[left] * weight_left + row[right] * weight_right;
        sum += ((int)rows.weight[k] * (line >> 4)) >> 16;
    }
    int value = (sum + 2) >> 2;
    return (byte)(value < 0 ? 0 : value > 255 ? 255 : value);
}

// frames (N, height, width, 3) -> images (N, out_height, out_width, 3): the frame scaled to
// content_height x content_width, its edge repeated below and to the right.
// rule: 0 a copy, 1 by area, 2 by area with halves rounded up, 3 bilinear.
extern "C" __global__ void make_images(
    const byte* frames, byte* images,
    const int* row_first, const int* row_index, const float* row_weight,
    const int* column_first, const int* column_index, const float* column_weight,
    int height, int width, int content_height, int content_width, int out_height, int out_width,
    int rule, float scale) {
    Taps rows = {row_first, row_index, row_weight};
    Taps columns = {column_first, column_index, column_weight};
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= out_width || y >= out_height) return;
    long long number = blockIdx.z;
    const byte* frame = frames + number * height * width * 3;
    byte* out = images + ((number * out_height + y) * out_width + x) * 3;
    int from_y = y < content_height ? y : content_height - 1;
    int from_x = x < content_width ? x : content_width - 1;
    for (int channel = 0; channel < 3; ++channel) {
        const byte* plane = frame + channel;
        if (rule == 0)
            out[channel] = plane[((long long)from_y * width + from_x) * 3];
        else if (rule == 3)
            out[channel] = linear_value(plane, rows, columns, from_y, from_x, width);
        else
            out[channel] =
                area_value(plane, rows, columns, from_y, from_x, width, scale, rule == 2);
    }
}

// The interpolation along rows and columns is that of lrn_ros.inference.postprocess.axes.
// scores (N, classes, cell_rows, cell_columns) -> masks (N, height, width): the class of the
// largest interpolated score, of equal ones the first, 255 where one is not a number; and, unless
// confidences is null, its softmax probability times 255, rounded, that of the classes of its
// group added up. sharpness multiplies the scores before the softmax.
extern "C" __global__ void make_masks(
    const float* scores, byte* masks, byte* confidences,
    const int* row_low, const int* row_high, const float* row_weight_low,
    const float* row_weight_high, const int* column_low, const int* column_high,
    const float* column_weight_low, const float* column_weight_high,
    const byte* groups, float sharpness,
    int classes, int cell_rows, int cell_columns, int height, int width) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    long long number = blockIdx.z, cells = (long long)cell_rows * cell_columns;
    const float* frame = scores + number * classes * cells;
    int upper = row_low[y] * cell_columns, lower = row_high[y] * cell_columns;
    int left = column_low[x], right = column_high[x];
    float above = row_weight_low[y], below = row_weight_high[y];
    float before = column_weight_low[x], after = column_weight_high[x];
    float top = 0.0f, total = 0.0f, own = 0.0f;
    int winner = 0;
    for (int pass = 0; pass < (confidences ? 2 : 1); ++pass) {
        for (int k = 0; k < classes; ++k) {
            const float* plane = frame + k * cells;
            float score = (plane[upper + left] * before + plane[upper + right] * after) * above +
                          (plane[lower + left] * before + plane[lower + right] * after) * below;
            if (pass == 1) {
                float weight = expf((score - top) * sharpness);
                total += weight;
                if (groups[k] == groups[winner]) own += weight;
            } else if (score != score) {
                winner = 255;
            } else if (k == 0 || score > top) {
                top = score;
                winner = winner == 255 ? 255 : k;
            }
        }
    }
    long long out = (number * height + y) * width + x;
    masks[out] = (byte)winner;
    // A total that is not a number, or of a score that is not, gives 0.
    if (confidences) confidences[out] = total >= 1.0f ? rounded(255.0f * own / total) : 0;
}
