/* nghttp2 as it is. */
#include "references.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

size_t reference_headers_frames(const reference_field *fields, size_t count, uint8_t *output, size_t limit, size_t *second) {
    nghttp2_hd_deflater *deflater = NULL;
    nghttp2_nv *list = calloc(count, sizeof *list);
    size_t total = 0;
    if (!list || nghttp2_hd_deflate_new(&deflater, 4096) != 0) return 0;
    for (size_t index = 0; index < count; index += 1) {
        list[index].name = (uint8_t *)fields[index].name;
        list[index].namelen = strlen(fields[index].name);
        list[index].value = (uint8_t *)fields[index].value;
        list[index].valuelen = strlen(fields[index].value);
    }
    for (int round = 0; round < 2; round += 1) {
        if (round == 1) *second = total;
        uint8_t *frame = output + total;
        ssize_t block = nghttp2_hd_deflate_hd(deflater, frame + 9, limit - total - 9, list, count);
        if (block < 0) return 0;
        frame[0] = (uint8_t)(block >> 16);
        frame[1] = (uint8_t)(block >> 8);
        frame[2] = (uint8_t)block;
        frame[3] = 1; /* HEADERS */
        frame[4] = 5; /* END_STREAM, END_HEADERS */
        memset(frame + 5, 0, 4);
        total += 9 + (size_t)block;
    }
    nghttp2_hd_deflate_del(deflater);
    free(list);
    return total;
}

struct reference_inflater {
    nghttp2_hd_inflater *inflater;
};

reference_inflater *reference_inflater_make(const uint8_t *warm, size_t count) {
    reference_inflater *made = calloc(1, sizeof *made);
    if (!made || nghttp2_hd_inflate_new(&made->inflater) != 0) return NULL;
    return reference_inflate(made, warm, count) > 0 ? made : NULL;
}

int reference_inflate(reference_inflater *made, const uint8_t *block, size_t count) {
    int fields = 0;
    while (1) {
        nghttp2_nv field;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(made->inflater, &field, &flags, block, count, 1);
        if (used < 0) return -1;
        block += used;
        count -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT) fields += 1;
        if (flags & NGHTTP2_HD_INFLATE_FINAL) break;
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && count == 0) break;
    }
    nghttp2_hd_inflate_end_headers(made->inflater);
    return fields;
}

struct reference_session {
    nghttp2_session *session;
    long fields;
};

static int field_seen(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_count,
                      const uint8_t *value, size_t value_count, uint8_t flags, void *context) {
    (void)session, (void)frame, (void)name, (void)name_count, (void)value, (void)value_count, (void)flags;
    ((reference_session *)context)->fields += 1;
    return 0;
}

reference_session *reference_session_make(void) {
    reference_session *made = calloc(1, sizeof *made);
    nghttp2_session_callbacks *callbacks = NULL;
    if (!made || nghttp2_session_callbacks_new(&callbacks) != 0) return NULL;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, field_seen);
    int code = nghttp2_session_server_new(&made->session, callbacks, made);
    nghttp2_session_callbacks_del(callbacks);
    if (code != 0 || nghttp2_submit_settings(made->session, 0, NULL, 0) != 0) return NULL;
    return made;
}

long reference_session_run(reference_session *made, const uint8_t *bytes, size_t count, int32_t stream) {
    static nghttp2_nv status = {(uint8_t *)":status", (uint8_t *)"204", 7, 3, 0};
    const uint8_t *output;
    if (nghttp2_session_mem_recv(made->session, bytes, count) < 0) return -1;
    if (stream > 0 && nghttp2_submit_response(made->session, stream, &status, 1, NULL) != 0) return -1;
    while (nghttp2_session_mem_send(made->session, &output) > 0) {}
    return made->fields;
}
