// OpenSSL's libcrypto and libssl for Swift: the headers, and the macros and variadics that Swift cannot import.
#ifndef GATEHOUSE_COPENSSL_SHIM_H
#define GATEHOUSE_COPENSSL_SHIM_H

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/// The selection of a public key with its parameters: a macro of several, which Swift does not import.
static inline int gatehouse_public_key_selection(void) { return EVP_PKEY_PUBLIC_KEY; }

// libssl's settings are macros over two control functions.

static inline int gatehouse_set_min_version(SSL_CTX *context, int version) {
    return (int)SSL_CTX_set_min_proto_version(context, version);
}

/// Partial writes from a buffer that may move, and no buffers while a connection rests.
static inline void gatehouse_set_modes(SSL_CTX *context) {
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
}

/// No renegotiation, no compression; a client's order of ciphers counts, but one that wants ChaCha20 first has a reason.
static inline void gatehouse_set_options(SSL_CTX *context, int tickets) {
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                     (tickets ? 0 : SSL_OP_NO_TICKET));
}

static inline void gatehouse_set_certificate_list_limit(SSL_CTX *context, long bytes) {
    SSL_CTX_set_max_cert_list(context, bytes);
}

static inline int gatehouse_set_groups(SSL_CTX *context, const char *list) {
    return (int)SSL_CTX_set1_groups_list(context, list);
}

static inline void gatehouse_set_session_cache(SSL_CTX *context, long mode) {
    SSL_CTX_set_session_cache_mode(context, mode);
}

static inline void gatehouse_set_servername_callback(SSL_CTX *context, int (*callback)(SSL *, int *, void *)) {
    SSL_CTX_set_tlsext_servername_callback(context, callback);
}

static inline void gatehouse_set_status_callback(SSL_CTX *context, int (*callback)(SSL *, void *)) {
    SSL_CTX_set_tlsext_status_cb(context, callback);
}

/// Takes over `bytes`, which OPENSSL_malloc gave.
static inline void gatehouse_staple(SSL *session, unsigned char *bytes, long count) {
    SSL_set_tlsext_status_ocsp_resp(session, bytes, count);
}

static inline void *gatehouse_allocate(size_t count) { return OPENSSL_malloc(count); }

static inline void gatehouse_set_ticket_callback(
    SSL_CTX *context,
    int (*callback)(SSL *, unsigned char *, unsigned char *, EVP_CIPHER_CTX *, EVP_MAC_CTX *, int)) {
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, callback);
}

/// Gives a ticket's MAC its key: HMAC with SHA-256.
static inline int gatehouse_set_ticket_mac(EVP_MAC_CTX *mac, unsigned char *key, size_t count) {
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, count),
                               OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                               OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, parameters);
}

static inline int gatehouse_set_server_name(SSL *session, const char *name) {
    return (int)SSL_set_tlsext_host_name(session, name);
}

static inline int gatehouse_print_subject(BIO *file, const X509 *certificate) {
    // UTF-8 stays as it is; what could end a line or a field is escaped.
    return X509_NAME_print_ex(file, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
}

// Stacks are macros too.

static inline STACK_OF(X509) *gatehouse_new_chain(void) { return sk_X509_new_null(); }
static inline int gatehouse_push(STACK_OF(X509) *chain, X509 *certificate) { return sk_X509_push(chain, certificate); }
static inline int gatehouse_chain_count(const STACK_OF(X509) *chain) { return sk_X509_num(chain); }
static inline X509 *gatehouse_chain_member(const STACK_OF(X509) *chain, int index) { return sk_X509_value(chain, index); }
static inline void gatehouse_free_chain(STACK_OF(X509) *chain) { sk_X509_pop_free(chain, X509_free); }

static inline STACK_OF(X509_NAME) *gatehouse_new_names(void) { return sk_X509_NAME_new_null(); }
static inline int gatehouse_push_name(STACK_OF(X509_NAME) *names, const X509_NAME *name) {
    X509_NAME *copy = X509_NAME_dup(name);
    return copy != NULL && sk_X509_NAME_push(names, copy) > 0;
}
static inline void gatehouse_free_names(STACK_OF(X509_NAME) *names) { sk_X509_NAME_pop_free(names, X509_NAME_free); }

/// The subject's alternative names, or NULL.
static inline GENERAL_NAMES *gatehouse_alternative_names(const X509 *certificate) {
    return (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
}
static inline int gatehouse_name_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }

/// The kind (GEN_DNS, GEN_URI, GEN_EMAIL, GEN_IPADD) of one name and its bytes; -1 for any other kind.
static inline int gatehouse_name(const GENERAL_NAMES *names, int index, const unsigned char **bytes, int *count) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, index);
    const ASN1_STRING *value = NULL;
    switch (name->type) {
    case GEN_DNS: value = name->d.dNSName; break;
    case GEN_URI: value = name->d.uniformResourceIdentifier; break;
    case GEN_EMAIL: value = name->d.rfc822Name; break;
    case GEN_IPADD: value = name->d.iPAddress; break;
    default: return -1;
    }
    *bytes = ASN1_STRING_get0_data(value);
    *count = ASN1_STRING_length(value);
    return name->type;
}

#endif
