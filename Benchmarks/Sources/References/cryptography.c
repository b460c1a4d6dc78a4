/* OpenSSL as it is. */
#include "references.h"

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

size_t reference_copy_lines(const uint8_t *bytes, size_t count, uint8_t *output) {
    size_t lines = 0, start = 0;
    while (start < count) {
        const uint8_t *end = memchr(bytes + start, '\n', count - start);
        size_t length = end ? (size_t)(end - bytes) + 1 - start : count - start;
        memcpy(output + start, bytes + start, length);
        start += length;
        lines += 1;
    }
    return lines;
}

int reference_sha256(const uint8_t *bytes, size_t count) {
    static EVP_MD_CTX *context;
    static EVP_MD *digest;
    unsigned char output[EVP_MAX_MD_SIZE];
    if (!context) {
        context = EVP_MD_CTX_new();
        digest = EVP_MD_fetch(NULL, "SHA256", NULL);
    }
    EVP_DigestInit_ex2(context, digest, NULL);
    EVP_DigestUpdate(context, bytes, count);
    EVP_DigestFinal_ex(context, output, NULL);
    return output[0];
}

struct reference_verifier {
    EVP_PKEY *key;
    EVP_MD_CTX *context;
    uint8_t *signature;
    size_t count;
};

reference_verifier *reference_verifier_make(const uint8_t *spki, size_t spki_count, int curve, const uint8_t *signature,
                                            size_t signature_count) {
    reference_verifier *verifier = calloc(1, sizeof *verifier);
    if (!verifier) return NULL;
    verifier->key = d2i_PUBKEY(NULL, &spki, (long)spki_count);
    verifier->context = EVP_MD_CTX_new();
    if (curve) {
        ECDSA_SIG *pair = ECDSA_SIG_new();
        ECDSA_SIG_set0(pair, BN_bin2bn(signature, 32, NULL), BN_bin2bn(signature + 32, 32, NULL));
        verifier->count = (size_t)i2d_ECDSA_SIG(pair, &verifier->signature);
        ECDSA_SIG_free(pair);
    } else {
        verifier->signature = malloc(signature_count);
        memcpy(verifier->signature, signature, signature_count);
        verifier->count = signature_count;
    }
    return verifier->key && verifier->context ? verifier : NULL;
}

int reference_verify(reference_verifier *verifier, const uint8_t *message, size_t count) {
    return EVP_DigestVerifyInit(verifier->context, NULL, EVP_sha256(), NULL, verifier->key) == 1
        && EVP_DigestVerify(verifier->context, verifier->signature, verifier->count, message, count) == 1;
}

struct reference_mac {
    EVP_MAC_CTX *context;
    OSSL_PARAM parameters[2];
    char digest[16];
    uint8_t *key;
    size_t count;
};

reference_mac *reference_mac_make(const char *digest, const uint8_t *key, size_t key_count) {
    reference_mac *mac = calloc(1, sizeof *mac);
    if (!mac) return NULL;
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    mac->context = EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac);
    strncpy(mac->digest, digest, sizeof mac->digest - 1);
    mac->parameters[0] = OSSL_PARAM_construct_utf8_string("digest", mac->digest, 0);
    mac->parameters[1] = OSSL_PARAM_construct_end();
    mac->key = malloc(key_count);
    memcpy(mac->key, key, key_count);
    mac->count = key_count;
    return EVP_MAC_init(mac->context, mac->key, mac->count, mac->parameters) == 1 ? mac : NULL;
}

int reference_mac_run(reference_mac *mac, int sets_key, const uint8_t *message, size_t count) {
    unsigned char output[EVP_MAX_MD_SIZE];
    size_t length = 0;
    EVP_MAC_init(mac->context, sets_key ? mac->key : NULL, sets_key ? mac->count : 0, NULL);
    EVP_MAC_update(mac->context, message, count);
    EVP_MAC_final(mac->context, output, &length, sizeof output);
    return output[0];
}
