/* libcurl over the descriptor that `fdbroker exec SLOT` passes on: fetches the page of the first argument. */
#include <curl/curl.h>

static curl_socket_t take(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)data, (void)purpose, (void)address;
    return 3;
}

static int taken(void *data, curl_socket_t socket, curlsocktype purpose)
{
    (void)data, (void)socket, (void)purpose;
    return CURL_SOCKOPT_ALREADY_CONNECTED;
}

int main(int count, char **arguments)
{
    CURL *curl = count == 2 ? curl_easy_init() : NULL;
    if (!curl)
        return 1;
    curl_easy_setopt(curl, CURLOPT_URL, arguments[1]);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, taken);
    CURLcode outcome = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    return outcome;
}
