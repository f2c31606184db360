/* test: none */
// Two threads add to one counter without a lock, for the guests' Linux: what is lost depends on where the
// kernel takes the processor away, so the result differs from run to run, and is the same in every replay.
//   racer [ADDITIONS]
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 2

static volatile unsigned long counter;
static unsigned long additions = 4000000;

static void *add(void *unused) {
    for (unsigned long i = 0; i < additions; i++)
        counter = counter + 1; // load, add, store: the mistake
    return unused;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS];
    if (argc > 1)
        additions = strtoul(argv[1], NULL, 0);
    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, add, NULL) != 0)
            return 1;
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("racer: %lu of %lu additions\n", counter, THREADS * additions);
    return 0;
}
