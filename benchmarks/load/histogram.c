#include "histogram.h"

#include <string.h>

/* Values below 2 * SUB_BUCKETS have a bucket each; above, each doubling has SUB_BUCKETS of them. */
static unsigned bucket_of(uint64_t us) {
    if (us < 2 * SUB_BUCKETS) return (unsigned)us;
    unsigned exponent = 63U - (unsigned)__builtin_clzll(us) - 6U;
    if (exponent > EXPONENTS - 2) return SUB_BUCKETS * EXPONENTS - 1;
    return exponent * SUB_BUCKETS + (unsigned)(us >> exponent);
}

static uint64_t end_of(unsigned bucket) {
    if (bucket < 2 * SUB_BUCKETS) return bucket;
    unsigned exponent = bucket / SUB_BUCKETS - 1;
    uint64_t mantissa = bucket - (uint64_t)exponent * SUB_BUCKETS;
    return ((mantissa + 1) << exponent) - 1;
}

void histogram_reset(struct histogram *histogram) { memset(histogram, 0, sizeof *histogram); }

void histogram_add(struct histogram *histogram, uint64_t us) {
    histogram->buckets[bucket_of(us)]++;
    histogram->count++;
    if (us > histogram->max_us) histogram->max_us = us;
}

uint64_t histogram_quantile(const struct histogram *histogram, double fraction) {
    uint64_t wanted = (uint64_t)(fraction * (double)histogram->count), seen = 0;
    if (histogram->count == 0) return 0;
    for (unsigned i = 0; i < SUB_BUCKETS * EXPONENTS; i++) {
        seen += histogram->buckets[i];
        if (seen > wanted) return end_of(i) < histogram->max_us ? end_of(i) : histogram->max_us;
    }
    return histogram->max_us;
}
