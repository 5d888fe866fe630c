/* Notes what a program asks of its disk, in the order in which it asks, and then asks it.
 *
 * Loaded before the C library (LD_PRELOAD), whose calls it replaces by the kernel's own. A write is noted when it
 * is done, a sync when it begins and when it is done, and what the program says (descriptor 1) before it is said:
 * so whoever replays the notes believes never more than was true. Only the process that was started is noted,
 * with all its threads. Each note is a `struct note`, a path and the data; tests/faults/power.py reads them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct __attribute__((packed)) note {
    char kind;       /* w written, t cut, b sync began, e it is done, f it failed, u unlinked, s said */
    uint32_t thread;
    int64_t at;      /* where in the file, or how long it is now */
    uint32_t path;   /* lengths, in bytes */
    uint32_t data;
};

static int notes = -1;
static pid_t noted;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("POWER_NOTES");
    if (path == NULL) return;
    notes = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    noted = getpid();
    unsetenv("LD_PRELOAD"); /* what it starts is not noted */
}

static void note(char kind, int64_t at, const char *path, const void *data, size_t size) {
    struct note head = {kind, (uint32_t)syscall(SYS_gettid), at, (uint32_t)strlen(path), (uint32_t)size};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)path, head.path}, {(void *)data, size}};
    ssize_t whole = (ssize_t)(sizeof head + head.path + size);
    int before = errno;
    pthread_mutex_lock(&one_at_a_time);
    if (syscall(SYS_writev, notes, parts, 3) != whole) abort(); /* half a note would be misread */
    pthread_mutex_unlock(&one_at_a_time);
    errno = before;
}

static int watched(void) { return notes >= 0 && getpid() == noted; }

static void note_file(char kind, int fd, int64_t at, const void *data, size_t size) {
    char link[64], path[PATH_MAX + 1];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX);
    if (length < 0) abort();
    path[length] = '\0';
    note(kind, at, path, data, size);
    errno = before;
}

ssize_t write(int fd, const void *data, size_t size) {
    if (!watched()) return syscall(SYS_write, fd, data, size);
    if (fd == 1) note('s', 0, "", data, size);
    ssize_t done = syscall(SYS_write, fd, data, size);
    int before = errno;
    off_t end = done > 0 ? lseek(fd, 0, SEEK_CUR) : -1; /* a pipe has no place */
    errno = before;
    if (end >= 0) note_file('w', fd, end - done, data, (size_t)done);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    ssize_t done = syscall(SYS_pwrite64, fd, data, size, at);
    if (watched() && done > 0) note_file('w', fd, at, data, (size_t)done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

static int sync_by(long call, int fd) {
    if (!watched()) return (int)syscall(call, fd);
    note_file('b', fd, 0, "", 0);
    int failed = (int)syscall(call, fd);
    note_file(failed ? 'f' : 'e', fd, 0, "", 0);
    return failed;
}

int fsync(int fd) { return sync_by(SYS_fsync, fd); }

int fdatasync(int fd) { return sync_by(SYS_fdatasync, fd); }

int ftruncate64(int fd, off64_t size) {
    int failed = (int)syscall(SYS_ftruncate, fd, size);
    if (watched() && !failed) note_file('t', fd, size, "", 0);
    return failed;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int unlink(const char *path) {
    int failed = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (watched() && !failed) note('u', 0, path, "", 0);
    return failed;
}
