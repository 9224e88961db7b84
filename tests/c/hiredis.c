/* Redis over the descriptor that `fdbroker exec SLOT` passes on: says who is logged in. */
#include <hiredis/hiredis.h>
#include <stdio.h>

int main(void)
{
    redisContext *redis = redisConnectFd(3);
    if (!redis || redis->err) {
        fprintf(stderr, "no context\n");
        return 1;
    }
    /* The session speaks RESP3, and older versions of hiredis read RESP2 only. */
    freeReplyObject(redisCommand(redis, "HELLO 2"));
    redisReply *reply = redisCommand(redis, "ACL WHOAMI");
    if (!reply) {
        fprintf(stderr, "%s\n", redis->errstr);
        return 1;
    }
    printf("%s\n", reply->str);
    freeReplyObject(reply);
    redisFree(redis);
    return 0;
}
