/* Loaded before everything else into the process that is measured: calls a Python function and counts what happens
 * meanwhile. Under callgrind these are instructions; by itself, calls of Python's allocators and of libc's senders. */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#if defined(__has_include)
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#endif
#endif

static long long allocations, sends;
static bool counting, inside;

/* ---- sending: the compiled modules use send, uvloop write, writev and sendmsg ---- */

ssize_t send(int fd, const void *data, size_t size, int flags) {
    sends += counting;
    return syscall(SYS_sendto, fd, data, size, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    sends += counting;
    return syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t write(int fd, const void *data, size_t size) {
    sends += counting;
    return syscall(SYS_write, fd, data, size);
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    sends += counting;
    return syscall(SYS_writev, fd, pieces, count);
}

/* ---- allocating: Python's three domains; what one asks of another is one allocation ---- */

static const PyMemAllocatorDomain domains[] = {PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};
static PyMemAllocatorEx usual[3];

static void *counted_malloc(void *context, size_t size) {
    PyMemAllocatorEx *allocator = context;
    bool outermost = !inside;
    allocations += outermost;
    inside = true;
    void *memory = allocator->malloc(allocator->ctx, size);
    inside = !outermost;
    return memory;
}

static void *counted_calloc(void *context, size_t count, size_t size) {
    PyMemAllocatorEx *allocator = context;
    bool outermost = !inside;
    allocations += outermost;
    inside = true;
    void *memory = allocator->calloc(allocator->ctx, count, size);
    inside = !outermost;
    return memory;
}

static void *counted_realloc(void *context, void *memory, size_t size) {
    PyMemAllocatorEx *allocator = context;
    bool outermost = !inside;
    allocations += outermost;
    inside = true;
    memory = allocator->realloc(allocator->ctx, memory, size);
    inside = !outermost;
    return memory;
}

static void usual_free(void *context, void *memory) {
    PyMemAllocatorEx *allocator = context;
    allocator->free(allocator->ctx, memory);
}

static void hook_allocators(void) {
    for (int i = 0; i < 3; i++) {
        PyMem_GetAllocator(domains[i], &usual[i]);
        PyMemAllocatorEx counted = {&usual[i], counted_malloc, counted_calloc, counted_realloc, usual_free};
        PyMem_SetAllocator(domains[i], &counted);
    }
}

static void unhook_allocators(void) {
    for (int i = 0; i < 3; i++) PyMem_SetAllocator(domains[i], &usual[i]);
}

/* ---- what Python calls, through ctypes with the GIL held ---- */

/* Whether instructions are counted in this process. */
int probe_counts_instructions(void) {
#ifdef RUNNING_ON_VALGRIND
    return RUNNING_ON_VALGRIND != 0;
#else
    return 0;
#endif
}

/* Calls `callable` and counts; 0 unless it raises. Under callgrind the counts go to the next dump. */
int probe_call(PyObject *callable, long long *allocated, long long *sent) {
    PyObject *result;
#ifdef RUNNING_ON_VALGRIND
    if (RUNNING_ON_VALGRIND) {
        CALLGRIND_START_INSTRUMENTATION;
        CALLGRIND_ZERO_STATS;
        CALLGRIND_TOGGLE_COLLECT;
        result = PyObject_CallNoArgs(callable);
        CALLGRIND_TOGGLE_COLLECT;
        CALLGRIND_DUMP_STATS;
        CALLGRIND_STOP_INSTRUMENTATION;
        Py_XDECREF(result);
        return result ? 0 : -1;
    }
#endif
    allocations = sends = 0;
    hook_allocators();
    counting = true;
    result = PyObject_CallNoArgs(callable);
    counting = false;
    unhook_allocators();
    *allocated = allocations;
    *sent = sends;
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* ---- references: what the least that one can do costs with this compiler ---- */

struct reader {
    int fd;
    int paused;
    int64_t seq;
};

/* Takes everything at once. */
ssize_t probe_give(int fd, const void *data, size_t size, int flags) {
    (void)fd, (void)data, (void)flags;
    return (ssize_t)size;
}

/* Visits readers that stand at the same place, and hands each the same bytes. */
PyObject *probe_visit(Py_ssize_t count, ssize_t (*give)(int, const void *, size_t, int)) {
    static char bytes[170];
    struct reader **readers = malloc((size_t)count * sizeof *readers);
    struct reader *all = calloc((size_t)count, sizeof *all);
    for (Py_ssize_t i = 0; readers && all && i < count; i++) readers[i] = &all[i];
    for (Py_ssize_t i = 0; readers && all && i < count; i++) {
        struct reader *reader = readers[i];
        if (reader->paused || reader->seq == 1) continue;
        if (give(reader->fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes) reader->seq = 1;
    }
    free(all);
    free(readers);
    Py_RETURN_NONE;
}

/* Unmasks bytes and looks whether all are ASCII, a word at a time. */
PyObject *probe_unmask(Py_ssize_t count) {
    uint64_t *words = calloc((size_t)count / 8 + 1, 8);
    uint64_t seen = 0;
    for (Py_ssize_t i = 0; words && i < count / 8; i++) {
        *(volatile uint64_t *)&words[i] = words[i] ^ 0x0403020104030201u;
        seen |= words[i];
    }
    free(words);
    return PyBool_FromLong((seen & 0x8080808080808080u) == 0);
}
