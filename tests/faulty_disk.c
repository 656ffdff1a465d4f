/* Preloaded under a server: its database's writes and syncs fail while a file tells so.
 *
 * DISK_FAULT names that file, whose text is an errno and what fails: "28 write", "5 sync".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Whether `operation` on this descriptor is to fail; errno says with what. */
static int fails(int descriptor, const char *operation)
{
    const char *name = getenv("DISK_FAULT");
    char link[64], path[4096], text[64];
    int number;
    ssize_t length;
    if (name == NULL || access(name, R_OK) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (strstr(path, "chat.db") == NULL)
        return 0;
    number = open(name, O_RDONLY | O_CLOEXEC);
    if (number < 0)
        return 0;
    length = read(number, text, sizeof text - 1);
    close(number);
    text[length > 0 ? length : 0] = 0;
    if (strstr(text, operation) == NULL)
        return 0;
    errno = atoi(text);
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size)
{
    return fails(fd, "write") ? -1 : REAL(write)(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return fails(fd, "write") ? -1 : REAL(pwrite)(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return fails(fd, "write") ? -1 : REAL(pwrite64)(fd, data, size, at);
}

int fsync(int fd)
{
    return fails(fd, "sync") ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    return fails(fd, "sync") ? -1 : REAL(fdatasync)(fd);
}
