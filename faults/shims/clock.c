/*
 * A wall clock that is wrong: loaded with LD_PRELOAD, for tests alone. The file that SYMBOLON_CLOCK names holds by how many
 * ms CLOCK_REALTIME is off; it is read anew at each call, and without it the clock is right. Other clocks are left alone.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long off_ms(void) {
    char text[32] = {0};
    const char *file = getenv("SYMBOLON_CLOCK");
    int fd = file ? (int)syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    long length = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    return length > 0 ? atoll(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result || clock != CLOCK_REALTIME) return result;
    long long off = off_ms(), ns = (long long)now->tv_nsec + off % 1000 * 1000000;
    now->tv_sec += off / 1000 + (ns < 0 ? -1 : ns / 1000000000);
    now->tv_nsec = ns < 0 ? ns + 1000000000 : ns % 1000000000;
    return 0;
}
