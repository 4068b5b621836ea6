/* The anti-aliased snake of models/vocoder.py and its gradient, one channel of one clip at a time:
   up x2, x + sin(a x)^2 / b, down x2, all in the cache of one core.

   A row has n samples in float32 or bfloat16. The filter has 12 taps. The rate is doubled as two
   streams, e (even samples) and o (odd ones), of n samples each; PAD more on either side hold the
   edges. sin^2 and sin * cos have the period pi: no sign is lost when whole turns of pi are. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PAD 8
#define INVERSE_PI 0.31830988618f
/* pi in two parts, so that x - k pi keeps its low bits. */
#define PI_HIGH 3.140625f
#define PI_LOW 9.67653589793e-4f

static inline float to_float(uint16_t x) {
  union { uint32_t bits; float value; } u = {(uint32_t)x << 16};
  return u.value;
}

static inline uint16_t to_bfloat(float x) {
  union { float value; uint32_t bits; } u = {x};
  return (uint16_t)((u.bits + 0x7fffu + ((u.bits >> 16) & 1u)) >> 16);
}

static inline float reduced(float x) {
  float turns = __builtin_rintf(x * INVERSE_PI);
  return (x - turns * PI_HIGH) - turns * PI_LOW;
}

/* Both within 1e-7 on -pi/2 ... pi/2. */
static inline float sine(float r) {
  float q = r * r;
  return r * (1.f + q * (-1.6666667e-1f + q * (8.3333310e-3f +
         q * (-1.98408e-4f + q * (2.7525562e-6f - q * 2.3889859e-8f)))));
}

static inline float cosine(float r) {
  float q = r * r;
  return 1.f + q * (-0.5f + q * (4.1666638e-2f +
         q * (-1.3888378e-3f + q * (2.4760495e-5f - q * 2.6051615e-7f))));
}

static void read_row(const void *rows, int half, long row, float *x, long n) {
  if (half) {
    const uint16_t *source = (const uint16_t *)rows + row * n;
    for (long i = 0; i < n; i++) x[i] = to_float(source[i]);
  } else {
    memcpy(x, (const float *)rows + row * n, n * sizeof(float));
  }
}

static void write_row(void *rows, int half, long row, const float *x, long n) {
  if (half) {
    uint16_t *target = (uint16_t *)rows + row * n;
    for (long i = 0; i < n; i++) target[i] = to_bfloat(x[i]);
  } else {
    memcpy((float *)rows + row * n, x, n * sizeof(float));
  }
}

static void set_edges(float *x, long n, float left, float right) {
  for (int i = 1; i <= PAD; i++) {
    x[-i] = left;
    x[n - 1 + i] = right;
  }
}

static void upsample(const float *f, const float *restrict x, float *restrict e,
                     float *restrict o, long n) {
  for (long i = 0; i < n; i++) {
    e[i] = 2 * (x[i - 3] * f[11] + x[i - 2] * f[9] + x[i - 1] * f[7] + x[i] * f[5] +
                x[i + 1] * f[3] + x[i + 2] * f[1]);
    o[i] = 2 * (x[i - 2] * f[10] + x[i - 1] * f[8] + x[i] * f[6] + x[i + 1] * f[4] +
                x[i + 2] * f[2] + x[i + 3] * f[0]);
  }
}

static void downsample(const float *f, const float *restrict e, const float *restrict o,
                       float *restrict y, long n) {
  for (long i = 0; i < n; i++)
    y[i] = e[i - 2] * f[1] + e[i - 1] * f[3] + e[i] * f[5] + e[i + 1] * f[7] + e[i + 2] * f[9] +
           e[i + 3] * f[11] + o[i - 3] * f[0] + o[i - 2] * f[2] + o[i - 1] * f[4] + o[i] * f[6] +
           o[i + 1] * f[8] + o[i + 2] * f[10];
}

static void snake(float *restrict x, float a, float inverse_b, long n) {
  for (long i = 0; i < n; i++) {
    float s = sine(reduced(x[i] * a));
    x[i] += s * s * inverse_b;
  }
}

/* g becomes the gradient before the snake; the sums are those of g x sin(2 a x) / b and of
   g sin(a x)^2. */
static void snake_gradient(const float *restrict x, float *restrict g, float a, float inverse_b,
                           long n, float *sum_a, float *sum_b) {
  float of_a = 0, of_b = 0;
#pragma omp simd reduction(+ : of_a, of_b)
  for (long i = 0; i < n; i++) {
    float r = reduced(x[i] * a), s = sine(r), slope = 2 * s * cosine(r) * inverse_b;
    of_a += g[i] * x[i] * slope;
    of_b += g[i] * s * s;
    g[i] += g[i] * a * slope;
  }
  *sum_a += of_a;
  *sum_b += of_b;
}

static void upsample_gradient(const float *f, const float *restrict e, const float *restrict o,
                              float *restrict x, long n) {
  for (long i = -3; i < n + 3; i++)
    x[i] = 2 * (f[11] * e[i + 3] + f[9] * e[i + 2] + f[7] * e[i + 1] + f[5] * e[i] +
                f[3] * e[i - 1] + f[1] * e[i - 2] + f[10] * o[i + 2] + f[8] * o[i + 1] +
                f[6] * o[i] + f[4] * o[i - 1] + f[2] * o[i - 2] + f[0] * o[i - 3]);
  for (int i = 1; i <= 3; i++) {
    x[0] += x[-i];
    x[n - 1] += x[n - 1 + i];
  }
}

static void downsample_gradient(const float *f, const float *restrict g, float *restrict e,
                                float *restrict o, long n) {
  for (long i = -3; i < n + 3; i++) {
    e[i] = g[i + 2] * f[1] + g[i + 1] * f[3] + g[i] * f[5] + g[i - 1] * f[7] + g[i - 2] * f[9] +
           g[i - 3] * f[11];
    o[i] = g[i + 3] * f[0] + g[i + 2] * f[2] + g[i + 1] * f[4] + g[i] * f[6] + g[i - 1] * f[8] +
           g[i - 2] * f[10];
  }
  for (int i = 1; i <= 3; i++) {
    e[0] += e[-i] + o[-i];
    o[n - 1] += e[n - 1 + i] + o[n - 1 + i];
  }
  set_edges(e, n, 0, 0);
  set_edges(o, n, 0, 0);
}

/* 0, or 1 when there is no memory. a and inverse_b hold a value for each channel. */
int snake_forward(const void *x_rows, void *y_rows, const float *a, const float *inverse_b,
                  const float *filter, long rows, long channels, long n, int half_x, int half_y) {
  long width = n + 2 * PAD;
  float *memory = malloc(4 * width * sizeof(float));
  if (!memory) return 1;
  float *x = memory + PAD, *e = x + width, *o = e + width, *y = o + width;
  for (long row = 0; row < rows; row++) {
    long c = row % channels;
    read_row(x_rows, half_x, row, x, n);
    set_edges(x, n, x[0], x[n - 1]);
    upsample(filter, x, e, o, n);
    snake(e, a[c], inverse_b[c], n);
    snake(o, a[c], inverse_b[c], n);
    float first = e[0], last = o[n - 1];
    set_edges(e, n, first, last);
    set_edges(o, n, first, last);
    downsample(filter, e, o, y, n);
    write_row(y_rows, half_y, row, y, n);
  }
  free(memory);
  return 0;
}

int snake_backward(const void *x_rows, const void *g_rows, void *gx_rows, const float *a,
                   const float *inverse_b, const float *filter, float *sums_a, float *sums_b,
                   long rows, long channels, long n, int half_x, int half_g) {
  long width = n + 2 * PAD;
  float *memory = calloc(7 * width, sizeof(float));
  if (!memory) return 1;
  float *x = memory + PAD, *e = x + width, *o = e + width;
  float *g = o + width, *ge = g + width, *go = ge + width, *gx = go + width;
  for (long row = 0; row < rows; row++) {
    long c = row % channels;
    read_row(x_rows, half_x, row, x, n);
    set_edges(x, n, x[0], x[n - 1]);
    upsample(filter, x, e, o, n);
    read_row(g_rows, half_g, row, g, n);
    set_edges(g, n, 0, 0);
    downsample_gradient(filter, g, ge, go, n);
    snake_gradient(e, ge, a[c], inverse_b[c], n, sums_a + c, sums_b + c);
    snake_gradient(o, go, a[c], inverse_b[c], n, sums_a + c, sums_b + c);
    upsample_gradient(filter, ge, go, gx, n);
    write_row(gx_rows, half_x, row, gx, n);
  }
  free(memory);
  return 0;
}
