// What the machine reads from memory: every thread sums its part of one array, again and again, and the median pass counts.
//
//     cc -O3 -march=native -pthread read_bandwidth.c -o read-bandwidth
//     ./read-bandwidth THREADS [MIB]
//
// Prints one JSON line, bytes a second. The array (1 GiB without MIB) must be larger than every cache.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PASSES = 5, LANES = 64, MOST_THREADS = 1024 };

struct part {
    const uint64_t *words;
    size_t n;
    uint64_t sum;
};

// Separate lanes, so that the loads of the next words do not wait for the sums of these.
static void *sum_part(void *arg) {
    struct part *part = arg;
    uint64_t lanes[LANES] = {0};
    for (size_t i = 0; i + LANES <= part->n; i += LANES)
        for (int lane = 0; lane < LANES; lane++) lanes[lane] += part->words[i + lane];
    for (int lane = 0; lane < LANES; lane++) part->sum += lanes[lane];
    return NULL;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    const int threads = argc > 1 ? atoi(argv[1]) : 0;
    const long mib = argc > 2 ? atol(argv[2]) : 1024;
    if (threads < 1 || threads > MOST_THREADS || mib < 1) {
        fprintf(stderr, "usage: read-bandwidth THREADS [MIB]\n");
        return 2;
    }
    const size_t words = (size_t)mib << 17;
    uint64_t *array = malloc(words * sizeof *array), check = 0;
    if (!array) return 1;
    for (size_t i = 0; i < words; i++) array[i] = i;

    static struct part parts[MOST_THREADS];
    static pthread_t ids[MOST_THREADS];
    double rates[PASSES];
    for (int pass = 0; pass < PASSES; pass++) {
        const double start = seconds();
        for (int t = 0; t < threads; t++) {
            const size_t first = words / threads * t;
            parts[t] = (struct part){array + first, words / threads, 0};
            if (pthread_create(&ids[t], NULL, sum_part, &parts[t])) return 1;
        }
        for (int t = 0; t < threads; t++) pthread_join(ids[t], NULL);
        rates[pass] = words / threads * threads * sizeof *array / (seconds() - start);
        for (int t = 0; t < threads; t++) check += parts[t].sum;
    }
    qsort(rates, PASSES, sizeof *rates, ascending);
    // The sum is printed so that no compiler leaves the reads out.
    printf("{\"read_bytes_per_s\": %.4g, \"sum\": \"%016llx\"}\n", rates[PASSES / 2], (unsigned long long)check);
    free(array);
    return 0;
}
