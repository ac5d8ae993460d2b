/*
 * Watches what a process does to the files under one folder, and makes it fail: loaded with LD_PRELOAD, for tests alone.
 *
 *   SYMBOLON_DISK_ROOT      the folder, absolute
 *   SYMBOLON_DISK_JOURNAL   file that takes every change in order (format: faults/src/journal.rs)
 *   SYMBOLON_DISK_NOTES     what is written to this file becomes a note in the journal and no change
 *   SYMBOLON_DISK_FAULT     stop | eio | enospc | flip
 *   SYMBOLON_DISK_AT        at which change (at which read, for flip), from 0
 *   SYMBOLON_DISK_SEED      which bit flips
 *
 * stop kills the process before the change; eio fails that one change, and a sync that fails loses what it should have
 * made durable; enospc fails that change and each later one that would take up room. Syncs are written down and not
 * passed on: whether they count is for who reads the journal, and the folder is thrown away.
 *
 * C, because open(2) takes a variable number of arguments, which stable Rust cannot define.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum fault { NONE, STOP, EIO_ONCE, FULL, FLIP };
enum { DESCRIPTORS = 65536 };

/* Recursive: a real function may call another that stands here. */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static char root[PATH_MAX], notes[PATH_MAX];
static size_t root_length;
static int journal = -1;
static enum fault fault = NONE;
static uint64_t at, seed, changes, reads;
/* Open descriptors under the folder, by their path; the path is only used to find what stands beneath a folder. */
static char *paths[DESCRIPTORS];

static void begin(void) {
    const char *folder = getenv("SYMBOLON_DISK_ROOT"), *file = getenv("SYMBOLON_DISK_JOURNAL");
    const char *kind = getenv("SYMBOLON_DISK_FAULT"), *number = getenv("SYMBOLON_DISK_AT");
    if (!folder || !file || !realpath(folder, root)) {
        static const char said[] = "disk shim: SYMBOLON_DISK_ROOT or SYMBOLON_DISK_JOURNAL is missing\n";
        (void)!syscall(SYS_write, 2, said, sizeof said - 1);
        _exit(97);
    }
    root_length = strlen(root);
    snprintf(notes, sizeof notes, "%s", getenv("SYMBOLON_DISK_NOTES") ? getenv("SYMBOLON_DISK_NOTES") : "");
    journal = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (kind && number) {
        at = strtoull(number, NULL, 10);
        fault = !strcmp(kind, "stop")     ? STOP
                : !strcmp(kind, "eio")    ? EIO_ONCE
                : !strcmp(kind, "enospc") ? FULL
                : !strcmp(kind, "flip")   ? FLIP
                                          : NONE;
    }
    if (getenv("SYMBOLON_DISK_SEED")) seed = strtoull(getenv("SYMBOLON_DISK_SEED"), NULL, 10);
}

static void enter(void) {
    pthread_once(&once, begin);
    pthread_mutex_lock(&lock);
}

static void leave(void) {
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
}

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* The path below the folder, or NULL. */
static const char *below(const char *path) {
    if (strncmp(path, root, root_length) || (path[root_length] && path[root_length] != '/')) return NULL;
    return path[root_length] ? path + root_length + 1 : "";
}

/* The absolute path of `path` seen from `folder`, if it lies below the root. */
static const char *watched(int folder, const char *path, char *absolute) {
    if (path[0] == '/') {
        snprintf(absolute, PATH_MAX, "%s", path);
    } else if (folder == AT_FDCWD) {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here)) return NULL;
        snprintf(absolute, PATH_MAX, "%.2000s/%.2000s", here, path);
    } else if (folder >= 0 && folder < DESCRIPTORS && paths[folder]) {
        snprintf(absolute, PATH_MAX, "%.2000s/%.2000s", paths[folder], path);
    } else {
        return NULL;
    }
    return below(absolute);
}

static int is_watched(int fd) { return fd >= 0 && fd < DESCRIPTORS && paths[fd] != NULL; }

static int is_notes(int fd) { return is_watched(fd) && *notes && !strcmp(paths[fd], notes); }

/* tag, inode, number, lengths of two texts and of the data, then these three. */
static void record(char tag, uint64_t inode, uint64_t number, const char *one, const char *two, const void *data,
                   size_t length) {
    struct {
        uint64_t inode, number, one, two, data;
    } head = {inode, number, strlen(one), strlen(two), length};
    struct iovec parts[] = {
        {&tag, 1}, {&head, sizeof head}, {(void *)one, head.one}, {(void *)two, head.two}, {(void *)data, length}};
    if (syscall(SYS_writev, journal, parts, 5) < 0) {
        static const char said[] = "disk shim: the journal cannot be written\n";
        (void)!syscall(SYS_write, 2, said, sizeof said - 1);
        _exit(98);
    }
}

static uint64_t inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : found.st_ino;
}

static uint64_t inode_at(const char *path) {
    struct stat found;
    return lstat(path, &found) ? 0 : found.st_ino;
}

/* Counts a change; the error with which it is to fail, or 0. */
static int fails(int takes_room) {
    uint64_t now = changes++;
    switch (fault) {
    case STOP:
        if (now == at) syscall(SYS_kill, getpid(), SIGKILL);
        return 0;
    case EIO_ONCE: return now == at ? EIO : 0;
    case FULL: return now >= at && takes_room ? ENOSPC : 0;
    default: return 0;
    }
}

static int refuse(int error) {
    record('E', 0, changes - 1, strerror(error), "", NULL, 0);
    leave();
    errno = error;
    return -1;
}

static int opened(int folder, const char *path, int flags, mode_t mode) {
    char absolute[PATH_MAX];
    int fd, error, created, cut;
    enter();
    const char *name = watched(folder, path, absolute);
    int note = name && *notes && !strcmp(absolute, notes);
    if (!name || note) {
        fd = (int)syscall(SYS_openat, folder, path, flags, mode);
        if (fd >= 0 && fd < DESCRIPTORS) {
            free(paths[fd]);
            paths[fd] = note ? strdup(absolute) : NULL;
        }
        leave();
        return fd;
    }
    created = (flags & O_CREAT) && !inode_at(absolute);
    cut = (flags & O_TRUNC) && !created;
    if ((created || cut) && (error = fails(created))) return refuse(error);
    fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    if (fd >= 0 && fd < DESCRIPTORS) {
        free(paths[fd]);
        paths[fd] = strdup(absolute);
        if (created) record('C', inode_of(fd), 0, name, "", NULL, 0);
        if (cut) record('F', inode_of(fd), 0, "", "", NULL, 0);
    }
    leave();
    return fd;
}

#define MODE(flags)                                  \
    mode_t mode = 0;                                 \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {         \
        va_list rest;                                \
        va_start(rest, flags);                       \
        mode = va_arg(rest, mode_t);                 \
        va_end(rest);                                \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }

static void forget(int fd) {
    if (is_watched(fd)) {
        free(paths[fd]);
        paths[fd] = NULL;
    }
}

int close(int fd) {
    enter();
    forget(fd);
    int result = (int)syscall(SYS_close, fd);
    leave();
    return result;
}

int fclose(FILE *file) {
    enter();
    forget(fileno(file));
    int result = REAL(fclose)(file);
    leave();
    return result;
}

int closedir(DIR *folder) {
    enter();
    forget(dirfd(folder));
    int result = REAL(closedir)(folder);
    leave();
    return result;
}

static ssize_t written(int fd, const void *data, size_t length, off_t offset) {
    int error;
    ssize_t result;
    enter();
    if (is_notes(fd)) {
        record('N', 0, changes, "", "", data, length);
        leave();
        return (ssize_t)length;
    }
    if (!is_watched(fd)) {
        leave();
        return offset < 0 ? syscall(SYS_write, fd, data, length) : syscall(SYS_pwrite64, fd, data, length, offset);
    }
    if ((error = fails(1))) return refuse(error);
    if (offset < 0) {
        int appends = fcntl(fd, F_GETFL) & O_APPEND;
        off_t place = lseek(fd, 0, appends ? SEEK_END : SEEK_CUR);
        result = syscall(SYS_write, fd, data, length);
        offset = place;
    } else {
        result = syscall(SYS_pwrite64, fd, data, length, offset);
    }
    if (result > 0) record('W', inode_of(fd), (uint64_t)offset, "", "", data, (size_t)result);
    leave();
    return result;
}

ssize_t write(int fd, const void *data, size_t length) { return written(fd, data, length, -1); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return written(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return written(fd, data, length, offset); }

static int synced(int fd, int data_only) {
    int error;
    enter();
    if (!is_watched(fd)) {
        leave();
        return (int)syscall(data_only ? SYS_fdatasync : SYS_fsync, fd);
    }
    if ((error = fails(0))) {
        record('!', inode_of(fd), 0, "", "", NULL, 0);
        return refuse(error);
    }
    record('S', inode_of(fd), 0, "", "", NULL, 0);
    leave();
    return 0;
}

int fsync(int fd) { return synced(fd, 0); }
int fdatasync(int fd) { return synced(fd, 1); }

static int cut(int fd, off_t length) {
    int error, result;
    enter();
    if (is_watched(fd) && (error = fails(0))) return refuse(error);
    result = (int)syscall(SYS_ftruncate, fd, length);
    if (is_watched(fd) && !result) record('F', inode_of(fd), (uint64_t)length, "", "", NULL, 0);
    leave();
    return result;
}

int ftruncate(int fd, off_t length) { return cut(fd, length); }
int ftruncate64(int fd, off64_t length) { return cut(fd, length); }

static int reserved(int fd, int mode, off_t offset, off_t length) {
    int error, result;
    struct stat found;
    enter();
    if (is_watched(fd) && (error = fails(1))) return refuse(error);
    result = (int)syscall(SYS_fallocate, fd, mode, offset, length);
    if (is_watched(fd) && !result && !fstat(fd, &found))
        record('F', found.st_ino, (uint64_t)found.st_size, "", "", NULL, 0);
    leave();
    return result;
}

int fallocate(int fd, int mode, off_t offset, off_t length) { return reserved(fd, mode, offset, length); }
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return reserved(fd, mode, offset, length); }

static int moved(const char *from, const char *to, int links) {
    char one[PATH_MAX], two[PATH_MAX];
    int error, result;
    enter();
    const char *source = watched(AT_FDCWD, from, one), *target = watched(AT_FDCWD, to, two);
    int both = source && target;
    if (both && (error = fails(1))) return refuse(error);
    result = links ? (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0)
                   : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (both && !result) record(links ? 'L' : 'R', inode_at(two), 0, source, target, NULL, 0);
    leave();
    return result;
}

int rename(const char *from, const char *to) { return moved(from, to, 0); }
int link(const char *from, const char *to) { return moved(from, to, 1); }

static int removed(int folder, const char *path, int flags) {
    char absolute[PATH_MAX];
    int error, result;
    enter();
    const char *name = watched(folder, path, absolute);
    if (name && (error = fails(0))) return refuse(error);
    result = (int)syscall(SYS_unlinkat, folder, path, flags);
    if (name && !result) record('U', 0, 0, name, "", NULL, 0);
    leave();
    return result;
}

int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int folder, const char *path, int flags) { return removed(folder, path, flags); }

int mkdir(const char *path, mode_t mode) {
    char absolute[PATH_MAX];
    int error, result;
    enter();
    const char *name = watched(AT_FDCWD, path, absolute);
    int there = name && inode_at(absolute);
    if (name && !there && (error = fails(1))) return refuse(error);
    result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (name && !result) record('M', inode_at(absolute), 0, name, "", NULL, 0);
    leave();
    return result;
}

/* Flips one bit of what a read returned, at the chosen read. */
static void perhaps_flip(int fd, void *data, ssize_t length) {
    if (!is_watched(fd) || is_notes(fd) || length <= 0) return;
    uint64_t now = reads++;
    if (fault == FLIP && now == at) {
        uint64_t bit = (seed * 0x9e3779b97f4a7c15u >> 16) % ((uint64_t)length * 8);
        ((unsigned char *)data)[bit / 8] ^= (unsigned char)(1u << bit % 8);
        record('B', inode_of(fd), bit, "", "", NULL, 0);
    }
}

ssize_t read(int fd, void *data, size_t length) {
    ssize_t result = syscall(SYS_read, fd, data, length);
    enter();
    perhaps_flip(fd, data, result);
    leave();
    return result;
}

static ssize_t read_at(int fd, void *data, size_t length, off_t offset) {
    ssize_t result = syscall(SYS_pread64, fd, data, length, offset);
    enter();
    perhaps_flip(fd, data, result);
    leave();
    return result;
}

ssize_t pread(int fd, void *data, size_t length, off_t offset) { return read_at(fd, data, length, offset); }
ssize_t pread64(int fd, void *data, size_t length, off64_t offset) { return read_at(fd, data, length, offset); }

#undef fread_unlocked
size_t fread_unlocked(void *data, size_t size, size_t count, FILE *file) {
    size_t result = REAL(fread_unlocked)(data, size, count, file);
    enter();
    perhaps_flip(fileno(file), data, (ssize_t)(result * size));
    leave();
    return result;
}
