#include "echo.h"

#include <stdio.h>
#include <string.h>

enum { MAX_LINE_BYTES = 128 << 10 };

bool echo_next_line(struct input *input, struct document *document) {
    size_t left = (size_t)(input->end - input->at);
    const char *newline = memchr(input->at, '\n', left);
    if (!newline) {
        input->broken = left > MAX_LINE_BYTES;
        return false;
    }
    document->bytes = input->at;
    document->length = (size_t)(newline - input->at);
    document->kind = document->length > 0 && input->at[0] == 'x' ? KIND_MESSAGE : KIND_JOINED;
    input->at = newline + 1;
    return true;
}

/* sprintf ends with a zero byte, which the text or the dialect's next byte overwrites. */
size_t encode_copy(char *out, uint64_t id, const char *text, size_t text_bytes) {
    sprintf(out, "x%09llu", (unsigned long long)id);
    memcpy(out + COPY_ID_BYTES, text, text_bytes - COPY_ID_BYTES);
    return text_bytes;
}

bool copy_id(const struct document *document, uint64_t *id) {
    const char *at = document->bytes;
    if (document->length < COPY_ID_BYTES || *at != 'x') return false;
    *id = 0;
    for (int i = 1; i < COPY_ID_BYTES; i++) {
        if (at[i] < '0' || at[i] > '9') return false;
        *id = *id * 10 + (uint64_t)(at[i] - '0');
    }
    return true;
}
