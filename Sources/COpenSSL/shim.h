// OpenSSL's libcrypto for Swift: the headers, and the macros and variadics that Swift cannot import.
#ifndef GATEHOUSE_COPENSSL_SHIM_H
#define GATEHOUSE_COPENSSL_SHIM_H

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

/// The selection of a public key with its parameters: a macro of several, which Swift does not import.
static inline int gatehouse_public_key_selection(void) { return EVP_PKEY_PUBLIC_KEY; }

#endif
