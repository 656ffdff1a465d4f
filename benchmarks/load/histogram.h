/* Delays in microseconds, counted in buckets 1.6 % wide, so that any number of them takes the same memory. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { SUB_BUCKETS = 64, EXPONENTS = 40 };

struct histogram {
    uint64_t buckets[SUB_BUCKETS * EXPONENTS];
    uint64_t count;
    uint64_t max_us;
};

void histogram_reset(struct histogram *histogram);
void histogram_add(struct histogram *histogram, uint64_t us);

/* The value that `fraction` of all values do not exceed, rounded up to its bucket's end; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);

#endif
