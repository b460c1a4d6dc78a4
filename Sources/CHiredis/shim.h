// hiredis: the protocol of Redis alone, replies read and commands written. Its sockets are not used.
#ifndef GATEHOUSE_CHIREDIS_SHIM_H
#define GATEHOUSE_CHIREDIS_SHIM_H

#include <hiredis/hiredis.h>
#include <stddef.h>

// The same under versions 0.14 and 1.x, whose types differ. -1 where there is no memory.
static inline long long gatehouse_redis_format(
    char **target, int count, const char **arguments, const size_t *lengths) {
    return redisFormatCommandArgv(target, count, arguments, lengths);
}

static inline redisReply *gatehouse_redis_element(const redisReply *reply, size_t index) {
    return reply->element[index];
}

#endif
