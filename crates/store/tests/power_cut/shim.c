/* Records what a program asks of its disk: put under it with LD_PRELOAD.
 *
 * Every change below the folder RECONVENE_CUT_ROOT is carried out and appended to the file RECONVENE_CUT_LOG, in the order in
 * which it happened: creations, writes, flushes, renames. A write through a descriptor opened with O_DSYNC is recorded twice,
 * as a write and as the flush of that write, so that a cut can fall between. What the program writes to RECONVENE_CUT_MARKS
 * is recorded as what it says of itself. Memory maps are not seen; LMDB writes through them to its lock file alone.
 *
 * RECONVENE_CUT_SWALLOW plants a fault: of the kind it names, `data`, `meta` (the writes that flush themselves) or `directory`,
 * the flushes are neither done nor recorded; `meta` writes are done without their flush. `data:7` swallows the seventh only.
 * RECONVENE_CUT_FAIL is the number of a flush of data that fails instead.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { CREATE = 1, MAKE_DIRECTORY, WRITE, TRUNCATE, FLUSH, FLUSH_DIRECTORY, FLUSH_WRITE, RENAME, UNLINK, MARK, UNKNOWN };

struct header {
    uint32_t kind;
    uint32_t path_bytes;
    uint32_t data_bytes;
    uint32_t zero;
    uint64_t file;
    uint64_t offset;
};

static int log_fd = -1;
static const char *root, *marks, *swallow;
static size_t root_bytes;
static unsigned long swallow_only, fail_only;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* The function that would have been called without this file. */
#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static ssize_t plain_write(int fd, const void *data, size_t bytes) {
    REAL(write);
    return real(fd, data, bytes);
}

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("RECONVENE_CUT_LOG");
    root = getenv("RECONVENE_CUT_ROOT");
    marks = getenv("RECONVENE_CUT_MARKS");
    swallow = getenv("RECONVENE_CUT_SWALLOW");
    if (!log || !root || !marks) return;
    root_bytes = strlen(root);
    if (swallow && strchr(swallow, ':')) swallow_only = strtoul(strchr(swallow, ':') + 1, NULL, 10);
    if (getenv("RECONVENE_CUT_FAIL")) fail_only = strtoul(getenv("RECONVENE_CUT_FAIL"), NULL, 10);
    int (*real_open)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    log_fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) abort();
}

static int is_below(const char *path) {
    return log_fd >= 0 && path && !strncmp(path, root, root_bytes) && (path[root_bytes] == '/' || !path[root_bytes]);
}

static void record(enum kind kind, const char *path, uint64_t file, uint64_t offset, const struct iovec *parts, int count,
                   size_t bytes) {
    struct header header = {kind, (uint32_t)strlen(path), (uint32_t)bytes, 0, file, offset};
    char *whole = malloc(sizeof header + header.path_bytes + bytes);
    if (!whole) abort();
    memcpy(whole, &header, sizeof header);
    memcpy(whole + sizeof header, path, header.path_bytes);
    char *to = whole + sizeof header + header.path_bytes, *end = to + bytes;
    for (int at = 0; at < count && to < end; at++) {
        size_t part = parts[at].iov_len < (size_t)(end - to) ? parts[at].iov_len : (size_t)(end - to);
        memcpy(to, parts[at].iov_base, part);
        to += part;
    }
    size_t all = sizeof header + header.path_bytes + bytes;
    if (plain_write(log_fd, whole, all) != (ssize_t)all) abort();
    free(whole);
}

static void note(enum kind kind, const char *path, uint64_t file, uint64_t offset) {
    record(kind, path, file, offset, NULL, 0, 0);
}

/* What an open file is to the log: nothing, a mark, or a file below the root with its number. */
enum place { ELSEWHERE, MARKS, BELOW };

static enum place place_of(int fd, char path[PATH_MAX], uint64_t *file) {
    char link[64];
    struct stat status;
    if (log_fd < 0 || fd == log_fd) return ELSEWHERE;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, path, PATH_MAX - 1);
    if (bytes < 0) return ELSEWHERE;
    path[bytes] = 0;
    if (!strcmp(path, marks)) return MARKS;
    if (!is_below(path) || fstat(fd, &status)) return ELSEWHERE;
    *file = status.st_ino;
    return BELOW;
}

/* Whether this flush is the one that is to go missing. */
static int is_swallowed(const char *kind) {
    static unsigned long seen;
    if (!swallow || strncmp(swallow, kind, strlen(kind))) return 0;
    return ++seen == swallow_only || !swallow_only;
}

static void wrote(int fd, const struct iovec *parts, int count, off_t offset, ssize_t bytes) {
    char path[PATH_MAX];
    uint64_t file;
    int kept = errno;
    enum place place = bytes > 0 ? place_of(fd, path, &file) : ELSEWHERE;
    if (place == MARKS) record(MARK, "", 0, 0, parts, count, (size_t)bytes);
    if (place == BELOW) {
        record(WRITE, path, file, (uint64_t)offset, parts, count, (size_t)bytes);
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0 && (flags & O_DSYNC) && !is_swallowed("meta")) {
            struct header done = {FLUSH_WRITE, 0, sizeof(uint64_t), 0, file, (uint64_t)offset};
            uint64_t length = (uint64_t)bytes;
            struct iovec whole[2] = {{&done, sizeof done}, {&length, sizeof length}};
            if (writev(log_fd, whole, 2) != (ssize_t)(sizeof done + sizeof length)) abort();
        }
    }
    errno = kept;
}

#define LOCKED(type, call) \
    pthread_mutex_lock(&one_at_a_time); \
    type result = call

#define UNLOCK_AND_RETURN \
    pthread_mutex_unlock(&one_at_a_time); \
    return result

ssize_t write(int fd, const void *data, size_t bytes) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    int flags = fcntl(fd, F_GETFL);
    struct stat status;
    if (flags >= 0 && (flags & O_APPEND) && !fstat(fd, &status)) at = status.st_size;
    LOCKED(ssize_t, plain_write(fd, data, bytes));
    struct iovec part = {(void *)data, bytes};
    wrote(fd, &part, 1, at, result);
    UNLOCK_AND_RETURN;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    if (fd == log_fd) return real(fd, parts, count);
    off_t at = lseek(fd, 0, SEEK_CUR);
    LOCKED(ssize_t, real(fd, parts, count));
    wrote(fd, parts, count, at, result);
    UNLOCK_AND_RETURN;
}

#define POSITIONED(name, offset_type) \
    ssize_t name(int fd, const void *data, size_t bytes, offset_type at) { \
        REAL(name); \
        LOCKED(ssize_t, real(fd, data, bytes, at)); \
        struct iovec part = {(void *)data, bytes}; \
        wrote(fd, &part, 1, at, result); \
        UNLOCK_AND_RETURN; \
    }
POSITIONED(pwrite, off_t)
POSITIONED(pwrite64, off64_t)

#define POSITIONED_PARTS(name, offset_type) \
    ssize_t name(int fd, const struct iovec *parts, int count, offset_type at) { \
        REAL(name); \
        LOCKED(ssize_t, real(fd, parts, count, at)); \
        wrote(fd, parts, count, at, result); \
        UNLOCK_AND_RETURN; \
    }
POSITIONED_PARTS(pwritev, off_t)
POSITIONED_PARTS(pwritev64, off64_t)

#define TRUNCATING(name, offset_type) \
    int name(int fd, offset_type length) { \
        REAL(name); \
        char path[PATH_MAX]; \
        uint64_t file; \
        LOCKED(int, real(fd, length)); \
        if (!result && place_of(fd, path, &file) == BELOW) note(TRUNCATE, path, file, (uint64_t)length); \
        UNLOCK_AND_RETURN; \
    }
TRUNCATING(ftruncate, off_t)
TRUNCATING(ftruncate64, off64_t)

/* Does and records a flush, unless it is to go missing. */
static int flush(int fd, int (*real)(int)) {
    char path[PATH_MAX];
    uint64_t file;
    struct stat status;
    if (place_of(fd, path, &file) != BELOW || fstat(fd, &status)) return real(fd);
    int is_directory = S_ISDIR(status.st_mode);
    pthread_mutex_lock(&one_at_a_time);
    int result = 0;
    static unsigned long data_flushes;
    if (!is_directory && ++data_flushes == fail_only) {
        errno = EIO;
        result = -1;
    } else if (!is_swallowed(is_directory ? "directory" : "data")) {
        result = real(fd);
        if (!result) note(is_directory ? FLUSH_DIRECTORY : FLUSH, path, file, 0);
    }
    UNLOCK_AND_RETURN;
}

int fsync(int fd) {
    REAL(fsync);
    return flush(fd, real);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return flush(fd, real);
}

/* Opens and records the creation of a file. */
#define OPENING(name, parameters, path_name, call) \
    int name parameters { \
        static int(*real) parameters; \
        if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        if (!is_below(path_name)) return call; \
        struct stat status; \
        pthread_mutex_lock(&one_at_a_time); \
        int was_there = !lstat(path_name, &status); \
        off_t length = was_there ? status.st_size : 0; \
        int result = call; \
        int kept = errno; \
        if (result >= 0 && !fstat(result, &status)) { \
            if (!was_there) note(CREATE, path_name, status.st_ino, 0); \
            else if ((flags & O_TRUNC) && length) note(TRUNCATE, path_name, status.st_ino, 0); \
        } \
        errno = kept; \
        UNLOCK_AND_RETURN; \
    }
OPENING(open, (const char *path, int flags, ...), path, real(path, flags, mode))
OPENING(open64, (const char *path, int flags, ...), path, real(path, flags, mode))
OPENING(openat, (int at, const char *path, int flags, ...), path, real(at, path, flags, mode))
OPENING(openat64, (int at, const char *path, int flags, ...), path, real(at, path, flags, mode))

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    struct stat status;
    LOCKED(int, real(path, mode));
    if (!result && is_below(path) && !stat(path, &status)) note(MAKE_DIRECTORY, path, status.st_ino, 0);
    UNLOCK_AND_RETURN;
}

int rename(const char *from, const char *to) {
    REAL(rename);
    LOCKED(int, real(from, to));
    if (!result && is_below(to)) {
        struct iovec target = {(void *)to, strlen(to)};
        record(RENAME, from, 0, 0, &target, 1, target.iov_len);
    }
    UNLOCK_AND_RETURN;
}

#define REMOVING(name) \
    int name(const char *path) { \
        REAL(name); \
        LOCKED(int, real(path)); \
        if (!result && is_below(path)) note(UNLINK, path, 0, 0); \
        UNLOCK_AND_RETURN; \
    }
REMOVING(unlink)
REMOVING(rmdir)

/* Calls that no picture is made of: the log says that they were used, and the test fails. */
int posix_fallocate(int fd, off_t offset, off_t length) {
    REAL(posix_fallocate);
    char path[PATH_MAX];
    uint64_t file;
    if (place_of(fd, path, &file) == BELOW) note(UNKNOWN, "posix_fallocate", file, 0);
    return real(fd, offset, length);
}

int link(const char *from, const char *to) {
    REAL(link);
    if (is_below(to)) note(UNKNOWN, "link", 0, 0);
    return real(from, to);
}

ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t bytes, unsigned flags) {
    REAL(copy_file_range);
    char path[PATH_MAX];
    uint64_t file;
    if (place_of(out, path, &file) == BELOW) note(UNKNOWN, "copy_file_range", file, 0);
    return real(in, in_at, out, out_at, bytes, flags);
}
