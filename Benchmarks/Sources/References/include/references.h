#ifndef REFERENCES_H
#define REFERENCES_H

#include <stddef.h>
#include <stdint.h>

/* CPU time of the calling thread in nanoseconds: what others did meanwhile does not count. */
uint64_t reference_cpu_nanoseconds(void);

/* Calls of malloc, calloc, realloc and their kin by the whole process so far: the benchmark has one thread. */
uint64_t reference_allocations(void);
/* Bytes that are allocated now, as malloc counts them, large blocks included. */
size_t reference_allocated_bytes(void);
/* As the gateway sets it at its start: without the fast bins. */
void reference_join_freed_blocks(void);
/* Resident bytes of the process. */
size_t reference_resident_bytes(void);

/* Copies line by line, each found by memchr; returns the number of lines. */
size_t reference_copy_lines(const uint8_t *bytes, size_t count, uint8_t *output);

/* SHA-256 by one context that is kept; returns the first byte. */
int reference_sha256(const uint8_t *bytes, size_t count);

typedef struct reference_verifier reference_verifier;
/* `spki`: DER of a public key. With `curve` the signature is r and s of 32 bytes each, otherwise RSA PKCS #1; SHA-256. */
reference_verifier *reference_verifier_make(const uint8_t *spki, size_t spki_count, int curve, const uint8_t *signature,
                                            size_t signature_count);
/* EVP_DigestVerifyInit and EVP_DigestVerify over the message; 1 when it holds. */
int reference_verify(reference_verifier *verifier, const uint8_t *message, size_t count);

typedef struct reference_mac reference_mac;
reference_mac *reference_mac_make(const char *digest, const uint8_t *key, size_t key_count);
/* EVP_MAC over the message; with `sets_key` the key is set anew, as where each request has another. Returns the first byte. */
int reference_mac_run(reference_mac *mac, int sets_key, const uint8_t *message, size_t count);

/* A field of a request over HTTP/2. */
typedef struct {
    const char *name;
    const char *value;
} reference_field;

/* The HEADERS frame of a GET as nghttp2's encoder writes it once its table is warm, for stream 1, with END_STREAM; the first
   one, which fills the table, is written before it. Returns the bytes of both, and where the second begins. */
size_t reference_headers_frames(const reference_field *fields, size_t count, uint8_t *output, size_t limit, size_t *second);

typedef struct reference_inflater reference_inflater;
/* An inflater that has read `warm`, a header block. */
reference_inflater *reference_inflater_make(const uint8_t *warm, size_t count);
/* Undoes one header block; the number of its fields, -1 for a fault. */
int reference_inflate(reference_inflater *inflater, const uint8_t *block, size_t count);

typedef struct reference_session reference_session;
/* A server's session of nghttp2 alone, whose callback counts the fields. */
reference_session *reference_session_make(void);
/* Takes bytes, answers the stream with a bare 204, and takes what goes out; the fields seen so far, -1 for a fault. */
long reference_session_run(reference_session *session, const uint8_t *bytes, size_t count, int32_t stream);

#endif
