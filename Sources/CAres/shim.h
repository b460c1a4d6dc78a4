// c-ares for Swift: asynchronous name look-up with the answers' TTL.
#ifndef GATEHOUSE_CARES_SHIM_H
#define GATEHOUSE_CARES_SHIM_H

#include <ares.h>

#endif
